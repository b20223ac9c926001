"""Exports and cut models as a repository on Hugging Face: a folder for each, and a card for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.reporting.model_card import LICENSE_LINE, license_line
from supernet.runs.background import CARD, UNKNOWN
from supernet.runs.places import RunPlaces
from supernet.runtime.record import RECORD
from supernet.system.files import as_name, read_json, read_text, whole_folder, write_whole

_SUFFIXES = (".json", ".txt", ".md", ".safetensors", ".onnx", ".pte", ".model", ".vocab")
"""Of the files that cuts and exports consist of; nobody needs to trust them."""
_WEIGHTS = "shared"
"""The format whose weights are plain numbers in files with the suffix below."""
_NUMBERS = ".bin"


@dataclass(frozen=True)
class Parcel:
    """The files of an export or of a cut model."""

    name: str
    """Its folder in the repository; empty for the repository itself."""
    folder: Path
    files: tuple[Path, ...]
    """Those to publish."""
    left_out: tuple[Path, ...]
    """Other files in the folder."""

    def place(self, file: Path) -> str:
        """The path of ``file`` in the repository."""
        return "/".join(filter(None, (self.name, file.relative_to(self.folder).as_posix())))


def parcels_of(folder: Path) -> list[Parcel]:
    """The exports of the run in ``folder``, or what is in ``folder`` itself.

    Raises:
        UserError: There is nothing to publish.
    """
    run = RunPlaces(folder)
    if not run.config_file.is_file():
        if _is_product(folder):
            return [_parcel("", folder)]
        raise UserError(f"`folder` must be a run, an export or a cut model, but '{folder}' is none.")
    found = sorted(place for place in run.exports.glob("*") if _is_product(place))
    if not found:
        raise UserError(
            f"`folder` must be a run with exports, but '{folder}' has none yet: export its sizes first."
        )
    return [_parcel(as_name(place.name), place) for place in found]


def _is_product(folder: Path) -> bool:
    return (folder / CARD).is_file() and any((folder / name).is_file() for name in (RECORD, "model.json"))


def _parcel(name: str, folder: Path) -> Parcel:
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    suffixes = (*_SUFFIXES, _NUMBERS) if record.get("format") == _WEIGHTS else _SUFFIXES
    inside = sorted(file for file in folder.rglob("*") if not file.is_dir() or file.is_symlink())
    files = tuple(file for file in inside if file.suffix in suffixes and _is_own(file, folder))
    return Parcel(name, folder, files, tuple(file for file in inside if file not in files))


def _is_own(file: Path, folder: Path) -> bool:
    """Whether a file is a regular one of the folder itself."""
    return file.is_file() and not any(part.is_symlink() for part in (file, *file.parents) if part != folder)


def licenses(parcels: Iterable[Parcel]) -> list[str]:
    """The licenses that the cards of ``parcels`` name."""
    return sorted({str(_card(parcel).data.license or UNKNOWN) for parcel in parcels})


def _card(parcel: Parcel, license: str | None = None) -> Any:
    """The card of ``parcel``, with another license if one is given."""
    from huggingface_hub import ModelCard

    text = read_text(parcel.folder / CARD)
    try:
        card: Any = ModelCard(text)
        if license is not None:
            card.data.license = license
            card.text = LICENSE_LINE.sub(lambda _: license_line(license), card.text)
        return card
    except (ValueError, KeyError, TypeError) as e:
        raise UserError(f"'{parcel.folder / CARD}' must be a model card, but is not: {e}.") from None


def assemble(parcels: Iterable[Parcel], folder: Path, name: str, license: str | None) -> None:
    """Copy ``parcels`` into the new ``folder`` with a card for all of them.

    Args:
        parcels: What to publish.
        folder: Is made or replaced.
        name: The title of the card.
        license: Replaces the license in all cards.
    """
    parcels = list(parcels)
    with whole_folder(folder) as temporary:
        for parcel in parcels:
            for file in parcel.files:
                target = temporary / parcel.place(file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            write_whole(temporary / parcel.name / CARD, str(_card(parcel, license)))
        if any(parcel.name for parcel in parcels):
            write_whole(temporary / CARD, _whole_card(parcels, name, license))


def _whole_card(parcels: Iterable[Parcel], name: str, license: str | None) -> str:
    """A card with the error rates of all ``parcels``, and the text of each."""
    from huggingface_hub import ModelCardData

    cards = {parcel.name: _card(parcel, license) for parcel in parcels}
    first = next(iter(cards.values())).data
    found = [result for card in cards.values() for result in card.data.eval_results or ()]
    # A size in several formats has the same error rates.
    results = list({(result.metric_type, result.metric_name): result for result in found}.values())
    data = ModelCardData(
        license=first.license,
        pipeline_tag=first.pipeline_tag,
        tags=first.tags,
        model_name=name if results else None,
        eval_results=results or None,
    )
    lines = [f"---\n{data.to_yaml()}\n---\n", f"# {name}", ""]
    lines += ["Sizes of one speech recognizer, each in a folder.", ""]
    for place, card in cards.items():
        text = card.text.strip().partition("\n")[2].strip().replace("\n## ", "\n### ")
        lines += [f"## [{place}]({place})", "", text, ""]
    return "\n".join(lines)


def upload(folder: Path, repository: str, private: bool, endpoint: str | None = None) -> str:
    """Upload ``folder`` as one commit; returns the address of the repository.

    Args:
        folder: What ``assemble`` has made.
        repository: ``user/name``; it is made if there is none.
        private: Whether a new repository is private.
        endpoint: The address of the server. None: the usual one.

    Raises:
        UserError: The server cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(endpoint=endpoint)
    try:
        place = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Sizes of a speech recognizer"
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError, ValueError) as e:
        reason = " ".join(str(e).split())[:300].rstrip(".")
        raise UserError(f"'{repository}' must accept the files, but does not: {reason}.") from None
    return str(place)
