"""Networks on the Hugging Face Hub: their files, and nothing that would have to be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from supernet.errors import UserError

_WANTED = (".json", ".txt", ".safetensors", ".model", ".vocab")
"""Suffixes of the files that describe a network, and of weights that hold nothing but numbers."""
_WEIGHTS = ".safetensors"
_TENSORS = "pytorch_model"
"""Beginning of the names of weights in PyTorch's format, which are read as tensors alone or refused."""


def downloaded(
    repository: str, folder: str = "", revision: str | None = None, endpoint: str | None = None
) -> Path:
    """Download a network, unless it is in the cache of ``huggingface_hub``, and return its folder.

    Args:
        repository: ``user/name``.
        folder: The folder of the repository with the network; empty for the repository itself.
        revision: A branch, tag or commit. None: the newest.
        endpoint: The address of the server. None: the usual one.

    Raises:
        UserError: The server cannot be reached and nothing is in the cache, or there is no such network.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    api, start = HfApi(endpoint=endpoint), f"{folder.strip('/')}/" if folder.strip("/") else ""
    names, is_reachable = list[str](), True
    try:
        try:
            info: Any = api.model_info(repository, revision=revision)
            names, revision = _wanted([file.rfilename for file in info.siblings or ()], start), info.sha
        except HfHubHTTPError:
            raise
        except OSError:
            is_reachable = False
        place = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=names,
            endpoint=endpoint,
            local_files_only=not is_reachable,  # else all files would be downloaded, wanted or not
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        reason = " ".join(str(e).split())[:300].rstrip(".")
        raise UserError(
            f"`name` must be a folder or a repository on the Hugging Face Hub, but '{repository}' cannot be "
            f"had: {reason}."
        ) from None
    return Path(place) / start if start else Path(place)


def _wanted(names: list[str], start: str) -> list[str]:
    """The files of the network among ``names``; only those directly in its folder."""
    here = [name for name in names if name.startswith(start) and "/" not in name.removeprefix(start)]
    found = [name for name in here if name.endswith(_WANTED)]
    if not any(name.endswith(_WEIGHTS) for name in found):
        found += [name for name in here if name.removeprefix(start).startswith(_TENSORS)]
    return found
