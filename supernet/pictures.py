"""The pictures of a run: scores over steps, the layers each size keeps, loss and error curves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from supernet.run import Run
from supernet.scoring import judged_by

Phases = Sequence[tuple[str, int]]


def draw_all(run: Run, phases: Phases) -> None:
    """Write all pictures a run has data for, as PNG."""
    run.pictures.mkdir(exist_ok=True)
    _draw_scores(run, phases)
    _draw_kept(run)
    _draw_curves(run, phases, "train", "ctc/", "CTC loss per frame (training)", "loss.png")
    measure = judged_by(run.results())
    _draw_curves(run, phases, "valid", f"{measure}/", f"validation {measure.upper()}", "wer.png")


def _draw_scores(run: Run, phases: Phases) -> None:
    lines = run.scores()
    if not lines:
        return
    steps, scores = [line["step"] for line in lines], np.array([line["scores"] for line in lines])
    if np.ptp(scores) == 0:
        return  # a method without scores
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 1, scores.shape[1]))
    final = scores[-1]
    for unit in np.argsort(-final):
        axes.plot(steps, scores[:, unit], color=colours[unit], label=str(unit))
    _mark_phases(axes, phases)
    axes.set(xlabel="step", ylabel="score", title="Importance scores (first unit dark, last bright)")
    if scores.shape[1] <= 16:
        axes.legend(title="unit", fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, run.pictures / "scores.png")


def _draw_kept(run: Run) -> None:
    subnets = run.subnets()
    units = subnets[max(subnets)].kept
    names = list(dict.fromkeys([*units, *(name for s in subnets.values() for name in s.kept)]))
    grid = np.array([[name in subnet.kept for name in names] for subnet in subnets.values()])
    figure, axes = plt.subplots(
        figsize=(1.5 + 0.32 * len(names), 1.2 + 0.35 * len(subnets)), layout="constrained"
    )
    axes.pcolormesh(grid, cmap="Blues", vmin=0, vmax=1.4, edgecolors="white", linewidth=2)
    axes.set_yticks(np.arange(len(subnets)) + 0.5, [str(size) for size in subnets])
    axes.set_xticks(
        np.arange(len(names)) + 0.5,
        [n.removeprefix("layers.") for n in names],
        rotation=90 if "." in names[0][7:] else 0,
    )
    axes.set(ylabel="size", xlabel="unit", title="Units kept by each size")
    axes.invert_yaxis()
    _save(figure, run.pictures / "kept.png")


def _draw_curves(run: Run, phases: Phases, metrics: str, prefix: str, label: str, file: str) -> None:
    lines = run.metrics(metrics)
    names = sorted({key for line in lines for key in line if key.startswith(prefix)}, key=_by_size)
    if not names:
        return
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name in names:  # a gap where a size does not train
        values = np.array([line.get(name, np.nan) for line in lines])
        marker = "." if np.isfinite(values).sum() < 30 else None
        axes.plot([line["Step"] for line in lines], values, label=name.removeprefix(prefix), marker=marker)
    _mark_phases(axes, phases)
    axes.set(xlabel="step", ylabel=label, ylim=(0, None))
    axes.legend(title="size")
    axes.grid(alpha=0.3)
    _save(figure, run.pictures / file)


def _by_size(name: str) -> tuple[int, str]:
    digits = "".join(c for c in name.rpartition("/")[2].partition("-")[0] if c.isdigit())
    return int(digits or 0), name


def _mark_phases(axes: Any, phases: Phases) -> None:
    """A line where a phase starts, with its name where it is another one's."""
    for (before, _), (name, start) in itertools.pairwise(phases):
        axes.axvline(start, color="grey", linestyle="--", linewidth=0.8)
        if name != before:
            axes.text(start, 0.98, f" {name}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
