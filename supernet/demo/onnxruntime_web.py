"""The npm package onnxruntime-web, which runs exports in a browser: downloaded once, then in the cache."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from supernet.errors import ArgumentError, UserError
from supernet.system.cache_folder import default_folder
from supernet.system.files import whole_folder

FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page needs of it: WebAssembly on the processor, without WebGPU."""
REGISTRY = "https://registry.npmjs.org"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
"""The environment variables with which npm names another registry."""
_SECONDS = 60
"""Longest wait for data."""
_LARGEST = 1 << 28


@dataclass(frozen=True)
class Package:
    """A version of the package, and its content."""

    version: str
    integrity: str
    """SHA-512 of the archive in Base64, as registries publish it."""

    @property
    def folder(self) -> Path:
        return default_folder() / f"onnxruntime-web-{self.version}"


PINNED = Package(
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)


def given_folder(folder: Path) -> Path:
    """The folder with the files, in an unpacked package.

    Raises:
        ArgumentError: It lacks some of them.
    """
    for place in (folder / "dist", folder):
        missing = [name for name in FILES if not (place / name).is_file()]
        if not missing:
            return place
    raise ArgumentError(
        ["onnxruntime_web"],
        f"`onnxruntime_web` must be the folder of the npm package onnxruntime-web {PINNED.version}, but "
        f"'{folder}' has no {missing[0]}.",
    )


def cached_folder(tell: Callable[[str], None] = lambda line: None, package: Package = PINNED) -> Path:
    """The folder with the files in the cache; they are downloaded if they are not there yet.

    Args:
        tell: Called with a sentence before a download.
        package: The version.

    Raises:
        UserError: The package cannot be had, or is another one.
    """
    if not package.folder.is_dir():
        registry = next(filter(None, map(os.environ.get, _VARIABLES)), REGISTRY)
        address = f"{registry.rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{package.version}.tgz"
        tell(f"onnxruntime-web {package.version} is downloaded once, to {package.folder}.")
        archive = _download(address)
        if base64.b64encode(hashlib.sha512(archive).digest()).decode() != package.integrity:
            raise UserError(
                f"'{address}' must be onnxruntime-web {package.version}, but has another SHA-512 checksum."
            )
        package.folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(package.folder, replaces=False) as partial:
            _unpack(archive, partial)
    return package.folder


def _download(address: str) -> bytes:
    without = "`onnxruntime_web` names the folder of an unpacked package, without a download."
    if urlsplit(address).scheme not in ("http", "https"):
        raise ArgumentError(
            ["onnxruntime_web"],
            f"npm_config_registry must be an address with https, but gives '{address}' instead. {without}",
        )
    try:
        with urlopen(address, timeout=_SECONDS) as response:
            content: bytes = response.read(_LARGEST)
    except (OSError, HTTPException, ValueError) as e:
        raise ArgumentError(
            ["onnxruntime_web"], f"'{address}' must be reachable, but is not: {e}. {without}"
        ) from None
    return content


def _unpack(archive: bytes, folder: Path) -> None:
    """Write the needed files of a verified archive into ``folder``."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        for name in FILES:
            found = members.extractfile(f"package/dist/{name}")
            assert found is not None
            (folder / name).write_bytes(found.read())
