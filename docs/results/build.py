"""Fill the tables of the result pages from docs/results/data, and draw the figure of RESULTS.md.

    python docs/results/build.py            # rewrite the pages and the figure
    python docs/results/build.py --check    # name the pages that are out of date; exit status 1 if any

A page names a CSV file between two comments. The table between them is generated and committed, so that it
shows in a repository browser as well as on the documentation site:

    <!-- table: equal-compute -->
    <!-- end of table -->
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent
DATA = RESULTS / "data"
FIGURE = RESULTS / "equal-compute.svg"
END = "<!-- end of table -->"
TABLE = re.compile(rf"<!-- table: ([\w-]+) -->\n.*?{re.escape(END)}", re.DOTALL)
INTERVAL = re.compile(r"\[[−\d., ]+\]|[\d.]+–[\d.]+")
TEXT, GRID = "#7b838d", "#7b838d55"
"""Readable on white and on near-black, so that one file serves light and dark pages."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "results",
    "font.family": ["sans-serif"],
    "font.size": 12.0,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
LINES = (
    ("equal-compute", "supernet, all sizes", "supernet, all sizes from the start", "#a06cd5", "^"),
    ("control-grown-alone", "12 layers grown", "12 layers grown alone, then cut (1 seed)", "#8f8f8f", "D"),
    ("equal-compute", "supernet, smallest", "supernet, smallest size first (default)", "#1a9e76", "o"),
    ("equal-compute", r"\d+ layers alone", "each size trained alone on the whole budget", "#d9730d", "s"),
)
"""By line of the figure: the table, what its rows begin with, the label, the color, the marker."""
MACS = {6: 0.51, 9: 0.76, 12: 1.00}
"""By number of layers, multiply-accumulates in G for 10 s of audio (page default-training)."""


def read(name: str) -> list[list[str]]:
    """The rows of ``data/NAME.csv``, the header first."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table. A line break within a cell becomes ``<br>``; an interval is never broken."""
    cells = [[cell.replace("|", r"\|").replace("\n", "<br>") for cell in row] for row in rows]
    cells = [[INTERVAL.sub(_unbroken, cell) for cell in row] for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\u00a0").replace("–", "\u2060–\u2060")


def filled(text: str) -> str:
    """``text`` with the table between each pair of comments generated again."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{markdown(read(found[1]))}\n{END}"

    return TABLE.sub(table, text)


def pages() -> list[Path]:
    """The documents that may hold generated tables."""
    return sorted(RESULTS.rglob("*.md"))


def points(name: str, row: str) -> list[tuple[int, list[float]]]:
    """Of the rows whose label begins with the pattern ``row``: by number of layers, the WER of each seed."""
    header, *body = read(name)
    found = []
    for cells in (cells for cells in body if re.match(row, cells[0])):
        for title, cell in zip(header[1:], cells[1:], strict=True):
            if cell and (layers := re.fullmatch(r"(\d+) layers", title)):
                found.append(
                    (int(layers[1]), [float(n) for n in re.findall(r"\d+\.\d+", cell.split("(")[0])])
                )
    return sorted(found)


def draw() -> None:
    """The figure: test WER against MACs for the same compute, a small marker for each seed."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 4.6), layout="constrained")
        axes = figure.subplots()
        for name, row, label, color, marker in LINES:
            series = points(name, row)
            means = [sum(rates) / len(rates) for _, rates in series]
            axes.plot(
                [MACS[x] for x, _ in series], means, marker, ls="-", color=color, label=label, ms=8, lw=1.8
            )
            for (x, rates), mean in zip(series, means, strict=True):
                axes.plot([MACS[x]] * len(rates), rates, marker, color=color, ms=3.5, alpha=0.55)
                above = mean > 2 or color == "#8f8f8f"
                axes.annotate(
                    f"{mean:.2f}", (MACS[x], mean), (8, 5 if above else -14), textcoords="offset points",
                    color=color, fontsize=11,
                )  # fmt: skip
        axes.set(
            xlabel="MACs for 10 s of audio",
            ylabel="test WER (%)",
            xlim=(0.47, 1.07),
            ylim=(0.8, 3.6),
        )
        labels = [f"{macs:.2f} G\n{layers} layers" for layers, macs in MACS.items()]
        axes.set_xticks(list(MACS.values()), labels)
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="upper left", labelcolor=TEXT, fontsize=11)
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(FIGURE, format="svg", transparent=True, metadata=metadata)


def main() -> None:
    stale = [page for page in pages() if filled(text := page.read_text("utf-8")) != text]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(
                f"The tables of '{page}' must be those of '{DATA}', but are not. Run {__file__}.",
                file=sys.stderr,
            )
        sys.exit(bool(stale))
    for page in stale:
        page.write_text(filled(page.read_text("utf-8")), encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
