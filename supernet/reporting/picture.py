"""Rendered pictures: SVG for pages, whose colors it follows, and PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from supernet.reporting.look import BACK, INK, LINE, SERIES, SOFT

VARIABLES = {
    INK: "--text",
    SOFT: "--soft",
    LINE: "--line",
    BACK: "--back",
    **{color: f"--series-{i + 1}" for i, color in enumerate(SERIES)},
}
"""The property of style.css that replaces each color in a page."""
_COLOR = re.compile("|".join(VARIABLES))
_REFERENCE = re.compile(r"#([\w.-]+)")
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Picture:
    """A rendered picture.

    ``svg`` is an element for a page of HTML; it contains ``title`` as its alternative text.
    """

    title: str
    svg: str
    png: bytes


def picture(figure: Figure, name: str, title: str) -> Picture:
    """Render ``figure``. ``name`` distinguishes its ids from those of other pictures of a page."""
    file = io.BytesIO()
    with warnings.catch_warnings():  # the font of the PNG lacks some characters
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # Each format is drawn once, and the figure is laid out once; `savefig` does both twice for each.
        figure.set_dpi(120)
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
        figure.set_layout_engine("none")
        return Picture(title, as_svg(figure, name, title), file.getvalue())


def as_svg(figure: Figure, name: str, title: str) -> str:
    """The element ``svg`` without background and external references, with colors as CSS properties."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_facecolor("none")
    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata=_NO_METADATA)  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(file.getvalue())
    used = {target for element in root.iter() for target in _targets(element)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.attrib.items()}
        if (identity := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{identity}")
        for key, value in element.attrib.items():
            element.set(key, _bound(_renamed(key, value, name)))
    width = float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3
    for key in ("height", "version"):
        del root.attrib[key]
    root.attrib |= {"role": "img", "aria-label": title, "style": f"max-width: {width:.0f}px"}
    alternative = ElementTree.Element("title")
    alternative.text = title
    root.insert(0, alternative)
    return ElementTree.tostring(root, encoding="unicode")


_LINKING = ("href", "clip-path", "style", "fill")


def _targets(element: ElementTree.Element) -> Iterator[str]:
    for key, value in element.attrib.items():
        if _local(key) in _LINKING:
            yield from _REFERENCE.findall(value)


def _renamed(key: str, value: str, name: str) -> str:
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return re.sub(r"url\(#", f"url(#{name}-", value)


def _bound(value: str) -> str:
    """Replace colors by CSS properties, and fonts by those of the page."""
    value = re.sub(r"font: (?:[^;]*?(\d{3}) )?[^;]*?([\d.]+px)[^;]*", _font, value)
    return _COLOR.sub(lambda found: f"var({VARIABLES[found[0]]}, {found[0]})", value)


def _font(found: re.Match[str]) -> str:
    return f"font-size: {found[2]}" + (f"; font-weight: {found[1]}" if found[1] else "")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
