"""The layout of a run folder."""

from __future__ import annotations

from pathlib import Path

from supernet.errors import ArgumentError
from supernet.pretrained.places import is_checkpoint
from supernet.system.files import refusal, safe_name
from supernet.system.folders import check_closed


def check_source(path: Path) -> None:
    """Raise ``ArgumentError`` if ``path`` is neither a run nor a checkpoint of another program."""
    if not is_checkpoint(path):
        RunPlaces(path).check()


class RunPlaces:
    """The paths of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raise ``ArgumentError`` if there is no run in the folder.

        Commands call this before they import anything heavy, so that a wrong path is an error at once.
        """
        if not self.config_file.is_file():
            why = refusal(self.folder, "folder") or f"'{self.folder}' has no config.yaml"
            raise ArgumentError(["folder"], f"`folder` must be a run folder, but {why}.")
        check_closed(self.folder)

    @property
    def name(self) -> str:  # also if the folder is given as ``.``
        return self.folder.resolve().name

    def beside(self, label: str) -> Path:
        """A folder beside this one, named after it."""
        parent = self.folder / ".." if self.folder.name in ("", "..") else self.folder.parent
        return parent / f"{self.name}-{label}"

    @property
    def config_file(self) -> Path:
        """Every setting, resolved: a training with this file repeats the run."""
        return self.folder / "config.yaml"

    @property
    def tokens_file(self) -> Path:
        """The tokens: a symbol and its number on each line; the blank is 0."""
        return self.folder / "tokens.txt"

    @property
    def model_stem(self) -> Path:
        """The weights (``model.safetensors``) and their description (``model.json``): those of the last step,
        or their averages if these do better on the validation split.
        """
        return self.folder / "model"

    def other_model_stem(self, kind: str) -> Path:
        """With weight averaging, the weights that did worse: ``last`` or ``average``."""
        return self.folder / f"model-{safe_name(kind, 'kind')}"

    def subnet_file(self, budget: str) -> Path:
        """The units that a size or budget keeps."""
        return self.folder / "subnets" / f"{safe_name(budget, 'budget')}.json"

    @property
    def prices_file(self) -> Path:
        """The costs of the units, where budgets limit something else than their number."""
        return self.folder / "prices.json"

    @property
    def results_file(self) -> Path:
        """Error rates, parameters, MACs and RTF of each size."""
        return self.folder / "results.json"

    @property
    def report_file(self) -> Path:
        """The self-contained page of the run."""
        return self.folder / "report.html"

    @property
    def comparison_file(self) -> Path:
        """The choices that strategies made, which ``report.html`` shows, as data."""
        return self.folder / "comparison.json"

    @property
    def pictures(self) -> Path:
        """The pictures of ``report.html``, as PNG."""
        return self.folder / "pictures"

    def transcripts_file(self, name: str) -> Path:
        """Transcripts: id, reference and hypothesis of each utterance; beside it, trn files for sclite and
        a page of the worst utterances.
        """
        return self.folder / "transcripts" / f"{safe_name(name, 'transcripts')}.tsv"

    @property
    def skipped_file(self) -> Path:
        """The skipped utterances and the reasons."""
        return self.folder / "skipped.tsv"

    @property
    def scores_file(self) -> Path:
        """Scores and gates over the course of the training, a line for each published step."""
        return self.folder / "scores.jsonl"

    def metrics_file(self, name: str) -> Path:
        """Losses (``train``) or error rates (``valid``) over the steps, as the engine writes them."""
        return self.folder / "metrics" / f"{name}.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Losses and error rates for TensorBoard."""
        return self.folder / "tb"

    @property
    def checkpoints(self) -> Path:
        """The state needed to continue the training."""
        return self.folder / "checkpoints"

    @property
    def logs(self) -> Path:
        """The engine's log, a file for each process."""
        return self.folder / "logs"

    def selection_file(self, strategy: str) -> Path:
        """The subnets that a strategy chose, one for each budget."""
        return self.folder / "selections" / f"{safe_name(strategy, 'strategy')}.json"

    @property
    def evidence_file(self) -> Path:
        """Measurements made for strategies, so that nothing is measured twice."""
        return self.folder / "selections" / "evidence.sqlite"

    def confidence_file(self, strategy: str) -> Path:
        """The calibration of confidences and the thresholds of cascades, for the subnets of a strategy, or
        those of the run under the name ``run``.
        """
        return self.folder / "confidence" / f"{safe_name(strategy, 'strategy')}.json"

    @property
    def exports(self) -> Path:
        """Files for other programs, a folder for each size or budget."""
        return self.folder / "export"

    def export_folder(self, label: str) -> Path:
        """One size, or a budget of a selection, for other programs; ``export.json`` describes it."""
        return self.exports / safe_name(label, "budget")

    @property
    def latency_file(self) -> Path:
        """Latency and memory of sizes and exports on the machine where they were measured."""
        return self.folder / "latency.json"
