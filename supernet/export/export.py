"""Export a size into a folder if its files pass the verification."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from supernet.errors import ArgumentError
from supernet.export.acceptance import FileCheck, Texts, largest_difference, write_texts
from supernet.export.eager import Eager
from supernet.export.formats import Format, Runtime, Written
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision
from supernet.runtime.record import RECORD
from supernet.system.files import whole_folder, write_json
from supernet.task import Batch, ProgressCallback


class NotAccepted(ArgumentError):
    """An export that does not match the cut model; nothing is written."""

    def __init__(self, checks: list[FileCheck]) -> None:
        super().__init__(["int8_margin"], "; ".join(c.problem for c in checks if c.problem))
        self.checks = checks


@dataclass(frozen=True)
class Examiner:
    """Compares exported files with the cut model."""

    batches: Iterable[Batch] | None
    """The test split. None: only log-probabilities are compared."""
    int8_margin: float
    """Largest accepted increase of the error rate of files with rounded weights, as a fraction."""
    report: ProgressCallback

    def examine(self, cut: Cut, written: list[Written], open: Callable[[Path], Runtime]) -> list[FileCheck]:
        """A check for each file, run as ``open`` opens it."""
        reference = Eager(cut.model.recognizer)
        texts = self._texts(reference, cut, f"{cut.subnet.size}, cut")
        return [self._compare(open(w.file), w, reference, texts, cut) for w in written]

    def _texts(self, runtime: Runtime, cut: Cut, what: str) -> Texts | None:
        if self.batches is None:
            return None
        return write_texts(runtime, self.batches, cut.model.tokens, self.report, what)

    def _compare(
        self, runtime: Runtime, written: Written, reference: Runtime, expected: Texts | None, cut: Cut
    ) -> FileCheck:
        file = written.file
        difference = largest_difference(runtime, reference, cut.model.recognizer.input)
        margin = 0.0 if written.exact else self.int8_margin
        check = FileCheck(
            file.name, written.num_bytes, written.exact, difference, margin, precision=written.precision
        )
        if check.problem or expected is None:
            return check
        found = self._texts(runtime, cut, f"{cut.subnet.size}, {file.name}")
        assert found is not None
        differ = sum(a != b for a, b in zip(found.hypotheses, expected.hypotheses, strict=True))
        check = replace(check, rate=found.rate, cut_rate=expected.rate, measure=expected.measure)
        return replace(check, texts_that_differ=differ)


def export(
    cut: Cut, format: Format, folder: Path, rounded: Collection[Precision], examiner: Examiner
) -> list[FileCheck]:
    """Export ``cut`` into ``folder`` atomically.

    Args:
        cut: The cut model.
        format: The format.
        folder: The folder to create or replace.
        rounded: The precisions in which to write a file as well.
        examiner: Verifies the files.

    Returns:
        The check of each file.

    Raises:
        NotAccepted: A file does not match the cut model; nothing is written.
    """
    with whole_folder(folder) as temporary:
        written = format.write(cut, temporary, rounded)
        checks = examiner.examine(cut, written, format.open)
        if any(check.problem for check in checks):
            raise NotAccepted(checks)
        _save_record(cut, format, checks, temporary / RECORD)
    return checks


def _save_record(cut: Cut, format: Format, checks: list[FileCheck], path: Path) -> None:
    record = {
        "format": format.name,
        "model": cut.description(),
        "compared_on_test": checks[0].rate is not None,
        "files": [asdict(check) for check in checks],
    }
    write_json(path, record)
