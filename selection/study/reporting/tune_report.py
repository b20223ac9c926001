"""The report of a search: the best trials, the importance of settings, and commands to continue with."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote

from markupsafe import Markup
from optuna.importance import get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from selection.study.reporting.tune_pictures import Drawing
from selection.study.space import setting_text
from selection.study.storage import DEFINITION
from supernet.console.fitted import Fitted
from supernet.console.screen import console
from supernet.reporting.pages import page_environment
from supernet.reporting.picture import Picture
from supernet.system.files import write_whole

SPLITS = ("validation", "test")
MOST_SHOWN = 15
FEWEST_FOR_IMPORTANCES = 4


def write(study: Study, objectives: Sequence[str], folder: Path, best: Path | None = None) -> None:
    """Print the best trials and the importances of settings, and write CSV, pictures and page.

    ``best``: the file with the best settings, if there is one.
    """
    trials = completed(study)
    is_rate = not study.user_attrs.get(DEFINITION, {}).get("reference")
    drawn = Drawing(study, objectives, trials, importances(study), measure(study), is_rate).all()
    for name, picture in drawn.items():
        write_whole(folder / f"{name}.png", picture.png)
    write_whole(folder / "results.csv", as_csv(study, objectives))
    write_whole(folder / "report.html", page(study, objectives, drawn, next_commands(folder, best)))
    console.print(table(study, objectives))
    for key, value in importances(study).items():
        console.print(f"importance of {key}: {value:.2f}")


def next_commands(folder: Path, best: Path | None) -> list[tuple[str, str]]:
    """Commands to continue with after a search, each with its purpose."""
    again = f"python -m selection.study report {quote(str(folder))}"
    found = [("Write this page again from the stored results", again)]
    if best is not None:
        train = f"python -m supernet.train --config {quote(str(best))} --out {quote(str(folder / 'best'))}"
        found.insert(0, ("Train with the best settings", train))
    return found


def completed(study: Study) -> list[FrozenTrial]:
    """Completed trials, the best first: those on the Pareto front, then by the first objective."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    front = {trial.number for trial in study.best_trials} if trials and len(study.directions) > 1 else set()
    return sorted(trials, key=lambda trial: (trial.number not in front, trial.values))


def counts(study: Study) -> str:
    """Numbers of trials by state."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return ", ".join(f"{states.count(state)} {state.name.lower()}" for state in TrialState if state in states)


def table(study: Study, objectives: Sequence[str]) -> Fitted:
    """The best trials, and the first one as the baseline."""
    trials = completed(study)
    first = min((trial.number for trial in trials), default=0)
    listed = [trial for i, trial in enumerate(trials) if i < MOST_SHOWN or trial.number == first]
    made = Fitted(
        f"Trials of {study.study_name}: {counts(study)}",
        f"{measure(study)} by size in %: validation, and test for information only.",
    )
    for name in ("trial", *objectives, *(f"{split} {measure(study)}" for split in SPLITS), "settings"):
        made.add_column(name, left=name == "settings", wraps=True)
    for trial in listed:
        made.add_row(*cells(trial))
    return made


def cells(trial: FrozenTrial) -> list[str]:
    notes = trial.user_attrs
    values = [f"{value:.4g}" for value in trial.values]
    settings = "  ".join(f"{key}={setting_text(value)}" for key, value in trial.params.items())
    return [
        str(trial.number),
        *values,
        by_size(notes.get("valid", {})),
        by_size(notes.get("test", {})),
        settings,
    ]


def by_size(rates: Mapping[str, float]) -> str:
    """Error rates by size, the largest first: ``12: 2.70  6: 3.16``."""
    return "  ".join(f"{size}: {100 * rates[size]:.2f}" for size in sorted(rates, key=int, reverse=True))


def measure(study: Study) -> str:
    """The measure by which the texts are judged: ``WER`` or ``CER``."""
    found = (trial.user_attrs.get("measure") for trial in study.get_trials(deepcopy=False))
    return str(next((name for name in found if name), "wer")).upper()


def importances(study: Study) -> dict[str, float]:
    """Importance of each setting for the first objective (PED-ANOVA, arXiv 2304.10255)."""
    trials = completed(study)
    if len(trials) < FEWEST_FOR_IMPORTANCES or len({trial.values[0] for trial in trials}) == 1:
        return {}
    target: Callable[[FrozenTrial], float] | None = None if len(study.directions) == 1 else _first_value
    return get_param_importances(study, target=target)


def _first_value(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def as_csv(study: Study, objectives: Sequence[str]) -> str:
    """A CSV table with a line per trial, whatever its state."""
    trials = study.get_trials(deepcopy=False)
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    sizes = sorted({size for trial in trials for size in trial.user_attrs.get("valid", {})}, key=int)
    file = io.StringIO()
    writer = csv.writer(file)
    of = measure(study).lower()
    split_sizes = [(split, size) for split in ("valid", "test") for size in sizes]
    scores, spent = (
        [f"{split}_{of}_{size}" for split, size in split_sizes],
        ["unit_steps", "training_seconds"],
    )
    writer.writerow(["trial", "state", *objectives, *scores, *spent, *keys])
    for trial in trials:
        notes = trial.user_attrs
        values = trial.values if trial.state == TrialState.COMPLETE else [""] * len(objectives)
        rates = [notes.get(split, {}).get(size, "") for split, size in split_sizes]
        costs = [notes.get(name, "") for name in spent]
        params = [trial.params.get(key, "") for key in keys]
        writer.writerow([trial.number, trial.state.name.lower(), *values, *rates, *costs, *params])
    return file.getvalue()


def page(
    study: Study,
    objectives: Sequence[str],
    drawn: Mapping[str, Picture],
    commands: Sequence[tuple[str, str]] = (),
) -> str:
    """The page with its pictures."""
    environment = page_environment("selection")
    environment.globals.update(
        {"cells": cells, "counts": counts, "measure": measure, "setting_text": setting_text}
    )
    environment.filters["drawn"] = Markup
    return environment.get_template("study/reporting/tune_report.html.jinja").render(
        study=study,
        objectives=objectives,
        trials=completed(study),
        pruned=study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)),
        importances=importances(study),
        pictures=drawn,
        next=commands,
    )
