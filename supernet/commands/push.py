"""Publish exports and cut models on Hugging Face."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from supernet.console.fitted import Fitted
from supernet.console.front import command, say_next
from supernet.console.screen import console
from supernet.console.text import note, say
from supernet.errors import UserError
from supernet.export.publishing import Parcel, assemble, licenses, parcels_of, upload
from supernet.runs.background import UNKNOWN


def push(args: argparse.Namespace) -> None:
    """Run the command ``push``."""
    parcels = parcels_of(args.folder)
    known = [args.license] if args.license is not None else licenses(parcels)
    is_unknown = UNKNOWN in known
    if args.upload and is_unknown:
        raise UserError(
            f"`--license` must name the license of '{args.folder}', which is unknown, but is not given."
        )
    console.print(_table(parcels, args.to or str(args.out)))
    say(f"license: {', '.join(known)}" + ": set --license" * is_unknown)
    for file in (file for parcel in parcels for file in parcel.left_out):
        note(f"'{file}' is left out: only files that cuts and exports consist of are published.")
    name = (args.to or args.folder.resolve().name).rpartition("/")[2]
    if args.out is not None:
        _check_free(args.out)
        assemble(parcels, args.out, name, args.license)
        say(f"{args.out}: written")
    if args.upload:
        with tempfile.TemporaryDirectory() as place:
            assemble(parcels, Path(place) / "all", name, args.license)
            say(f"uploaded: {upload(Path(place) / 'all', args.to, not args.public)}")
    elif args.to is not None:
        say("Nothing was uploaded.")
        say_next((command("push", *args.words, "--upload"), "uploads these files"))


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"`--out` must be a new or empty folder, but '{folder}' is not.")


def _table(parcels: list[Parcel], place: str) -> Fitted:
    files = [(parcel.place(file), file.stat().st_size) for parcel in parcels for file in parcel.files]
    table = Fitted(f"for {place}", f"{sum(size for _, size in files) / 1e6:.2f} MB", boxed=True)
    table.add_column("file", left=True, wraps=True)
    table.add_column("kB")
    for name, size in files:
        table.add_row(name, f"{size / 1e3:,.1f}")
    return table
