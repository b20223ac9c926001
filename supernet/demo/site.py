"""The files of the page: the project's own, those of an export, and onnxruntime-web.

Paths of a site are the only ones that are served or written; the files of an export, which may be untrusted,
have a folder of their own among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.runs.places import RunPlaces
from supernet.runs.records import ResultsRecord, checked
from supernet.runtime.export_folder import ExportFolder, Size
from supernet.runtime.graph import open_graph
from supernet.runtime.precision import Precision, suffix
from supernet.system.files import read_json
from supernet.text.plain import plain
from supernet.text.unit_names import short_names

PAGE = Path(__file__).parent / "page"
STYLE = Path(__file__).parents[1] / "reporting" / "style.css"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""The browser loads, runs and connects to nothing but this site."""
LONGEST_SECONDS = 60.0
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True)
class Content:
    """A file of the site: its bytes, or the file that has them."""

    source: bytes | Path

    def read(self) -> bytes:
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


Site = Mapping[str, Content]
"""The content of each path, such as ``export/model.onnx``."""


def media_type(path: str) -> str:
    """The MIME type of a path of the site."""
    return _TYPES.get(Path(path).suffix, "application/octet-stream")


def site_of(run: RunPlaces, export: Path, precision: Precision) -> Site:
    """The site for an export of a run, apart from onnxruntime-web.

    Args:
        run: The run.
        export: The folder of its export of several sizes.
        precision: The precision of the weights.

    Raises:
        UserError: The export or the results of the run are damaged.
    """
    opened = ExportFolder.open(export, precision)
    weights = None if opened.is_on_demand else f"weights{suffix(precision)}.bin"
    names = dict.fromkeys([*(size.file for size in opened.sizes), *([weights] if weights else [])])
    if weights and not (export / weights).is_file():
        raise UserError(f"'{export / weights}' must exist, as the graphs beside it need it, but does not.")
    for size in {size.file: size for size in opened.sizes}.values():
        open_graph(opened, size, threads=1)  # so that a damaged one is an error here, not in the browser
    facts = {**_facts(run, opened), "weights": weights}
    page = (PAGE / "index.html").read_text(encoding="utf-8").replace("@POLICY@", POLICY)
    return {
        **{file.name: Content(file) for file in sorted(PAGE.iterdir()) if file.is_file()},
        "index.html": Content(page.encode()),
        "style.css": Content(STYLE),
        "demo.json": Content(json.dumps(facts).encode()),
        **{f"export/{name}": Content(export / name) for name in names},
    }


def _facts(run: RunPlaces, opened: ExportFolder) -> dict[str, Any]:
    """The description of the export for the page."""
    results = None
    if run.results_file.is_file():
        results = checked(ResultsRecord, read_json(run.results_file), run.results_file)
    return {
        "name": plain(run.name),
        "isOnDemand": opened.is_on_demand,
        "measure": None if results is None else results.measures[0],
        "symbols": opened.symbols.symbols,
        "tokens": opened.symbols.kind,
        "confidence": asdict(opened.confidences),
        "longestSeconds": min(LONGEST_SECONDS, opened.longest_seconds),
        "sizes": [_size(size, opened.units, results) for size in opened.sizes],
    }


def _size(size: Size, units: Sequence[str], results: ResultsRecord | None) -> dict[str, Any]:
    kept = list(compress(units, size.kept))
    return {
        "budget": plain(size.budget),
        "units": _short(kept),
        "kept": size.kept,
        "macs": size.macs,
        "rate": _measured_rate(kept, results) if size.rate is None else size.rate,
        "file": size.file,
    }


def _measured_rate(kept: Sequence[str], results: ResultsRecord | None) -> float | None:
    """The error rate of the units ``kept`` in the results of the run, if they have it."""
    rows = [] if results is None else results.sizes.values()
    rates = (row.rate(row.test.measure) for row in rows if {*row.kept} == {*kept})
    return next(rates, None)


def _short(kept: Sequence[str]) -> str:
    try:
        return short_names(kept)
    except ValueError:  # names of an untrusted export
        return plain(" ".join(kept))
