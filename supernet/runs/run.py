"""A run on disk: the formats of its files, and how they are read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from supernet.budget import Prices, Quantity
from supernet.config import Config
from supernet.errors import ArgumentError, UserError
from supernet.runs import prices_file
from supernet.runs.places import RunPlaces
from supernet.runs.records import ResultsRecord, checked
from supernet.scoring.error_rates import TranscriptRows
from supernet.system.files import read_json, read_text, read_yaml, safe_name, write_json, write_whole
from supernet.system.folders import check_writable
from supernet.task import Skipped
from supernet.text.tokens import MODEL_FILE, Kind, Tokens
from supernet.units import Subnet

_PLACES = ("device", "task.cache", "train.processes")
"""Settings of places, in which a continued run may differ."""


class RunError(UserError):
    """A run folder that is incomplete or damaged, or does not fit the request."""


class Run(RunPlaces):
    """A run folder: reads and writes its files.

    Args:
        folder: The folder, which need not exist.
    """

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open an existing run. Raises ``ArgumentError`` if there is none in ``folder``."""
        run = cls(folder)
        run.check()
        return run

    @property
    def is_finished(self) -> bool:
        """Whether the training and its evaluation are complete."""
        return self.results_file.is_file()

    @property
    def is_begun(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return any(self.checkpoints.glob("step_*"))

    def config_data(self) -> dict[str, Any]:
        """The contents of ``config.yaml``."""
        if data := read_yaml(self.config_file):
            return data
        raise RunError(f"'{self.config_file}' must hold the settings of a run, but is empty.")

    def begin(self, config: Config, completed: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> None:
        """Create the folder, or check that it belongs to the same configuration.

        Args:
            config: The configuration of the training.
            completed: Adds settings that did not exist when a configuration was saved.

        Raises:
            ArgumentError: The folder belongs to another configuration.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.config_file.is_file() and (
            changed := differences(completed(self.config_data()), as_data(config), leave=_PLACES)
        ):
            raise ArgumentError(
                ["folder"],
                f"'{self.folder}' must be continued with the settings it was started with, but these differ: "
                f"{'; '.join(changed)}. Choose another `folder`, or delete this one.",
            )
        if self.is_finished and self.config_file.is_file():  # the device of the training stays on record
            config = config.model_copy(update={"device": self.config_data().get("device")})
        self.save_config(config)

    def save_config(self, config: Config) -> None:
        """Write ``config.yaml``."""
        text = yaml.safe_dump(as_data(config), sort_keys=False, allow_unicode=True)
        write_whole(self.config_file, text)

    def save_subnets(self, subnets: Mapping[str, Subnet]) -> None:
        for name, subnet in subnets.items():
            self.subnet_file(name).parent.mkdir(exist_ok=True)
            subnet.save(self.subnet_file(name))

    def subnets(self) -> dict[str, Subnet]:
        """All saved subnets by size or budget, the smallest first."""
        found = {}
        for file in self.folder.glob("subnets/*.json"):
            subnet, name = Subnet.load(file), file.name.removesuffix(".json")
            if "=" not in name and name != str(subnet.size):
                raise RunError(f"'{file}' must be a subnet of size {name}, but has {subnet.size} units.")
            found[safe_name(name, "budget")] = subnet
        return dict(sorted(found.items(), key=lambda item: (item[1].size, len(item[0]), item[0])))

    def save_prices(self, prices: Prices) -> None:
        prices_file.save(prices, self.prices_file)

    def prices(self) -> dict[Quantity, Prices]:
        """The prices that a training in budgets began with, by quantity, if there are any."""
        if not self.prices_file.is_file():
            return {}
        prices = prices_file.load(self.prices_file)
        return {prices.quantity: prices}

    def keep_tokens(self, tokens: Tokens) -> None:
        """Save the tokens, or check that they are those that the run was started with."""
        if _tokens_at(self.tokens_file, tokens.kind) not in (None, tokens):
            raise ArgumentError(
                ["folder"],
                f"'{self.folder}' must be continued with the tokens it was started with, but the corpus has "
                "others now. Choose another `folder`, or delete this one.",
            )
        tokens.save(self.tokens_file)

    def tokens(self, kind: Kind) -> Tokens:
        """The tokens that the run was started with.

        Args:
            kind: How they split texts, unless a model beside them shows that they are pieces.
        """
        is_pieces = self.tokens_file.with_name(MODEL_FILE).is_file()
        kind = "pieces" if is_pieces else "characters" if kind == "pieces" else kind
        if (found := _tokens_at(self.tokens_file, kind)) is None:
            raise RunError(f"'{self.tokens_file}' must hold the tokens of the run, but does not.")
        return found

    def append_scores(self, line: Mapping[str, object]) -> None:
        """Append a line to ``scores.jsonl``. After a kill a step may appear twice; readers keep the last."""
        with self.scores_file.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line) + "\n")

    def scores(self) -> list[dict[str, Any]]:
        """The lines of ``scores.jsonl`` by step."""
        return read_lines(self.scores_file, "step")

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """The engine's ``train`` or ``valid`` metrics in order of steps."""
        return read_lines(self.metrics_file(name), "Step")

    def training_seconds(self) -> float:
        """The total duration of training steps over all sessions, without validation and evaluation."""
        seconds = (line.get("Lapse Time", 0.0) for line in self.metrics("train"))
        return sum(float(value) for value in seconds if isinstance(value, (int, float)))

    def save_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Write the skipped utterances and the reasons."""
        lines = [f"{s.split}\t{s.id}\t{s.reason}\n" for s in skipped]
        write_whole(self.skipped_file, "split\tid\treason\n" + "".join(lines))

    def save_results(self, results: Mapping[str, object]) -> None:
        """Write ``results.json``, which marks the run as finished."""
        write_json(self.results_file, results)

    def results(self) -> dict[str, Any]:
        """The contents of ``results.json``. Raises ``UserError`` if they are invalid."""
        data = read_json(self.results_file)
        checked(ResultsRecord, data, self.results_file)
        return data

    def save_latency(self, latency: Mapping[str, object]) -> None:
        write_json(self.latency_file, latency)

    def save_comparison(self, comparison: Mapping[str, object]) -> None:
        """Write what a selection adds to ``report.html`` as data."""
        write_json(self.comparison_file, comparison)

    def save_pictures(self, pictures: Mapping[str, bytes]) -> None:
        """Write the pictures of ``report.html`` as PNG files."""
        self.pictures.mkdir(exist_ok=True)
        for name, picture in pictures.items():
            write_whole(self.pictures / f"{safe_name(name, 'picture')}.png", picture)

    def save_page(self, page: str) -> None:
        write_whole(self.report_file, page)

    def prepare(self, *folders: Path) -> None:
        """Create ``folders`` and check that they are writable, before computing anything for them.

        Raises:
            OSError: A folder cannot be created or written to.
        """
        for folder in folders:
            folder.mkdir(exist_ok=True)
            check_writable(folder)

    def prepare_transcripts(self, names: Iterable[str]) -> None:
        """As ``prepare``, for transcripts. Raises ``UserError`` for invalid names."""
        self.prepare(*{self.transcripts_file(name).parent for name in names})

    def save_transcripts(self, name: str, rows: TranscriptRows, trn: tuple[str, str], page: str) -> None:
        """Write the transcripts of a split.

        Args:
            name: The name of the files.
            rows: Id, reference and hypothesis of each utterance.
            trn: The references and hypotheses as sclite's trn files.
            page: The page of the worst utterances.
        """
        self.prepare_transcripts([name])
        file = self.transcripts_file(name)
        write_whole(file, "".join("\t".join(row) + "\n" for row in rows))
        for side, text in zip(("ref", "hyp"), trn, strict=True):
            write_whole(file.with_name(f"{name}.{side}.trn"), text)
        write_whole(file.with_name(f"{name}.html"), page)

    def transcripts(self, name: str) -> TranscriptRows:
        """Read the rows that ``save_transcripts`` wrote. Raises ``RunError`` if they are malformed."""
        file = self.transcripts_file(name)
        rows = [line.split("\t") for line in read_text(file).removesuffix("\n").split("\n")]
        if bad := [number for number, row in enumerate(rows, 1) if len(row) != 3]:
            raise RunError(
                f"'{file}' must have an id, a reference and a hypothesis in each line, but line {bad[0]} "
                "does not."
            )
        return [(id_, reference, hypothesis) for id_, reference, hypothesis in rows]


def _tokens_at(path: Path, kind: Kind) -> Tokens | None:
    try:
        return Tokens.load(path, kind)
    except (OSError, ValueError):
        return None


def as_data(config: Config) -> dict[str, Any]:
    """The complete configuration as plain data."""
    return config.model_dump(mode="json")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "", leave: Collection[str] = ()
) -> list[str]:
    """The settings that differ, as ``a.b was 1, is 2``, except those to ``leave`` out."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if f"{prefix}{key}" in leave:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.", leave)
        elif a != b:
            found.append(f"{prefix}{key} was {a}, is {b}")
    return found


def read_lines(path: Path, key: str) -> list[dict[str, Any]]:
    """JSON lines in order of ``key``; the last of duplicates is kept, and truncated lines are skipped."""
    rows: dict[int, dict[str, Any]] = {}
    for line in read_text(path).split("\n") if path.is_file() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get(key), int):
            rows[row[key]] = row
    return [rows[step] for step in sorted(rows)]
