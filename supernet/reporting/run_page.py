"""The page of a run: its configuration and the results of each size; a selection adds a section."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from supernet.config import Config
from supernet.network.model_costs import MACS_SECONDS
from supernet.reporting.pages import page_environment
from supernet.reporting.picture import Picture
from supernet.reporting.pictures import draw_all
from supernet.reporting.trained import results_of
from supernet.runs.records import ResultsRecord
from supernet.runs.run import Run
from supernet.system.timing import BUSY
from supernet.text.unit_names import short_names


def write(run: Run, config: Config, units: Sequence[str], selection: Markup | None = None) -> None:
    """Draw the pictures of a finished run and write its page, with the section of a ``selection`` if any."""
    results = results_of(run)
    pictures = draw_all(run, results, units)
    run.save_pictures({name: found.png for name, found in pictures.items()})
    run.save_page(render(run, config, units, results, pictures, selection))


def render(
    run: Run,
    config: Config,
    units: Sequence[str],
    results: ResultsRecord,
    pictures: Mapping[str, Picture],
    selection: Markup | None = None,
) -> str:
    """The self-contained page, with links to files of the run folder."""
    environment = page_environment("supernet")
    texts = (percent, interval, millions, billions, short_names)
    environment.filters.update({function.__name__: function for function in texts}, drawn=Markup)
    sizes = list(reversed(results.by_size.items()))
    return environment.get_template("reporting/run.html.jinja").render(
        name=run.name,
        granularity=config.granularity,
        units=units,
        facts=facts(run, config, units, results),
        sizes=sizes,
        kind="units" if config.sizes else "budget",
        rates=results.measures,
        busy=BUSY if any(row.rtf_busy for _, row in sizes) else "",
        transcripts={
            size: quote(f"transcripts/test-{size}.html")
            for size, _ in sizes
            if (run.folder / "transcripts" / f"test-{size}.html").is_file()
        },
        seconds_of_audio=MACS_SECONDS,
        pictures=pictures,
        selection=selection or "",
        next=next_commands(run, [size for size, _ in sizes], selection is not None),
    )


def facts(run: Run, config: Config, units: Sequence[str], results: ResultsRecord) -> list[tuple[str, str]]:
    """Facts about the training: what was trained, on what data, and at what cost."""
    task, seconds, skipped = config.task, run.training_seconds(), results.skipped_updates
    test, path = next(iter(results.by_size.values())).test, task.options.get("path")
    memory = results.peak_memory_mb
    kind = "Sizes" if config.sizes else "Budgets"
    found = [
        ("Method", f"{config.method.name}, by {config.granularity}s"),
        (kind, f"{', '.join(config.names)} of {len(units)} {config.granularity}s"),
        ("Corpus", task.name if path is None else f"{task.name}, {Path(path).name}"),
        ("Network", f"{config.model.layer_type}, {config.num_layers} layers, {config.model.dim} wide"),
        ("Updates", f"{config.train.num_steps if results.steps is None else results.steps:,}"),
        ("Compute", "" if results.unit_steps is None else f"{results.unit_steps:,.0f} unit-steps"),
        ("Training time", duration(seconds) if seconds else ""),
        ("Peak memory", "" if memory is None else f"{memory:,.0f} MB"),
        ("Skipped", f"{skipped} updates with non-finite gradients" if skipped else ""),
        ("Test", f"{test.utterances:,} utterances, {test.words:,} words"),
        ("Seed", str(config.seed)),
    ]
    return [(what, value) for what, value in found if value]


def next_commands(run: Run, sizes: Sequence[str], selected: bool) -> list[tuple[str, str]]:
    """Commands for further use of the run."""
    folder, smallest = shlex.quote(str(run.folder)), sizes[-1]
    choose = (
        "Choose again, for other sizes or budgets" if selected else "Choose the units by other strategies"
    )
    return [
        ("Recognize a recording", f"python -m supernet.transcribe {folder} --size {smallest} recording.wav"),
        ("Score another split", f"python -m supernet.evaluate {folder} --split valid --by speaker,length"),
        (choose, f"python -m selection {folder} --budget params=50%"),
        ("Cut a size out", f"python -m supernet.cut {folder} --size {smallest} --out small"),
        ("Export it for phones and servers", f"python -m supernet.export {folder} --size {smallest} --int8"),
        ("Measure latency", f"python -m supernet.latency {folder}"),
    ]


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def interval(ends: Sequence[float]) -> str:
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def millions(number: float) -> str:
    return f"{number / 1e6:.2f}"


def billions(number: float) -> str:
    return f"{number / 1e9:.2f}"


def duration(seconds: float) -> str:
    """``12 s``, ``31 min`` or ``5.2 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
