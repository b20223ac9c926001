"""The results of a run that was made of a checkpoint: the whole network on the test split."""

from __future__ import annotations

from supernet.evaluation.score_sizes import ScoringRequest, score_sizes
from supernet.runs.opening import open_model
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run
from supernet.task import ProgressCallback


def score_whole(run: Run, report: ProgressCallback, device: str | None = None) -> None:
    """Score the network of ``run`` on the test split and save the results."""
    model, task = open_model(run, device), resolve_trained(run.config_data()).task
    task.prepare_for(["test"], model.tokens, report)
    sizes = score_sizes(run, model, task, ScoringRequest(run.subnets(), ["test"]), report).sizes
    run.save_results({"sizes": sizes, "title": run.name, "steps": 0, "phases": []})
