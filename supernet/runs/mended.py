"""Settings with one problem less, so that those that it hides are reported with it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from supernet.config import ModelConfig
from supernet.settings.presets import Data, merge


def mended(data: Data) -> Data | None:
    """``data`` with a width that suits its heads, without which no other problem of the network is found.

    None: it suits them already, or both must be numbers first.
    """
    model = data.get("model", {})
    fields = ((name, ModelConfig.model_fields[name].default) for name in ("dim", "num_heads"))
    given = [model.get(*field) for field in fields] if isinstance(model, Mapping) else []
    if not given or any(type(value) is not int or value < 1 for value in given):
        return None
    dim, heads = given
    if dim % 2 == dim % heads == 0:
        return None
    # Neither prices nor units depend on the number of heads, unless these are units.
    is_wide = dim % 2 == 1 or data.get("granularity") == "component"
    multiple = math.lcm(2, heads)
    return merge(data, {"model": {"dim": -(-dim // multiple) * multiple} if is_wide else {"num_heads": 1}})
