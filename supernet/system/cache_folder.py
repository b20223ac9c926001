"""The folder of the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from supernet.errors import UserError

VARIABLE = "SUPERNET_CACHE"
"""The environment variable that names the cache."""


def default_folder() -> Path:
    """The folder for corpora, features and downloads, whatever the working folder: ``$SUPERNET_CACHE``, or
    else ``supernet`` in ``$XDG_CACHE_HOME``, by default ``~/.cache`` (XDG Base Directory Specification 0.8).

    Raises:
        UserError: If the user has no home folder.
    """
    if own := os.environ.get(VARIABLE):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "supernet"
    try:
        return Path.home() / ".cache" / "supernet"
    except RuntimeError:
        raise UserError(
            f"the cache must be in a folder, but there is no home folder for it. Set {VARIABLE}, or "
            "`task.cache` for a corpus."
        ) from None
