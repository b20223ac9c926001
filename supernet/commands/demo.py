"""Serve or write a page on which the sizes of a run recognize speech in the browser."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path

from supernet.console.front import command
from supernet.console.text import note, say
from supernet.demo import onnxruntime_web
from supernet.demo.server import HOST, server_of
from supernet.demo.site import Content, Site, site_of
from supernet.errors import ArgumentError, UserError
from supernet.runs.places import RunPlaces
from supernet.system.files import whole_folder

_EXPORTS = ("on-demand", "shared")


def demo(args: argparse.Namespace) -> None:
    """Run the command ``demo``."""
    run, out = RunPlaces(args.run), args.out
    if out is not None and out.exists():
        raise ArgumentError(["out"], f"`out` must not exist yet, but '{out}' does.")
    export = args.export or _export_of(run)
    page = site_of(run, export, args.precision)
    given = args.onnxruntime_web
    ort = onnxruntime_web.cached_folder(note) if given is None else onnxruntime_web.given_folder(given)
    site = {**page, **{f"ort/{name}": Content(ort / name) for name in onnxruntime_web.FILES}}
    if out is None:
        _serve(site, args.port)
    else:
        write(site, out)
        say(f"{out}: open it through a web server, e.g. python -m http.server --directory {out}")


def _export_of(run: RunPlaces) -> Path:
    """The folder of an export with all sizes."""
    folders = [run.export_folder(name) for name in _EXPORTS]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        make = command("export", run.folder, "--on-demand", "--int8")
        raise UserError(
            f"'{run.exports}' must have an export with all sizes, but has none. To make one: {make}"
        )
    return found


def _serve(site: Site, port: int) -> None:
    try:
        server = server_of(site, port)
    except OSError as e:
        reason = "is in use" if e.errno == errno.EADDRINUSE else f"is not: {e.strerror}"
        raise ArgumentError(
            ["port"], f"`port` must be free, but {port} {reason}. 0 is any free one."
        ) from None
    with server:
        say(f"http://{HOST}:{server.server_address[1]}/ (only on this machine; Ctrl-C ends it)")
        server.serve_forever()


def write(site: Site, out: Path) -> None:
    """Write the files of ``site`` to the new folder ``out``."""
    with whole_folder(out) as folder:
        for path, content in site.items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content.read())
