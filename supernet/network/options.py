"""The options of plug-ins that have none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class NoOptions(BaseModel):
    """No options."""

    model_config = ConfigDict(extra="forbid")
