"""All sizes in one folder, with each weight stored once: the interface of such exports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from supernet.errors import ArgumentError
from supernet.export.acceptance import FileCheck
from supernet.export.export import Examiner
from supernet.export.formats import Runtime, Written
from supernet.network.model_costs import MACS_SECONDS, macs
from supernet.network.supernet_ctc import num_parameters
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model, description
from supernet.runtime.precision import Precision
from supernet.runtime.record import RECORD
from supernet.system.files import whole_folder, write_json


class Bundle(ABC):
    """The base class of exports of several sizes that share their weights.

    Args:
        model: The supernet.
        cuts: Its sizes, each cut out.
    """

    name: ClassVar[str]

    def __init__(self, model: Model, cuts: Sequence[Cut]) -> None:
        self.model, self.cuts = model, cuts

    @abstractmethod
    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        """Write all files into the existing ``folder``; returns for each size those with its network.

        Args:
            folder: The folder.
            rounded: The precisions in which to write the network as well.
        """

    @abstractmethod
    def open(self, file: Path, cut: Cut) -> Runtime:
        """Open a file written by ``write`` as one of the sizes."""

    @abstractmethod
    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Store facts about the verified sizes in ``files``, if other programs expect them there."""


@dataclass(frozen=True)
class Verified:
    """A size of an export, and the checks of its files."""

    cut: Cut
    checks: list[FileCheck]

    @property
    def budget(self) -> str:
        return self.cut.provenance["budget"]

    def facts(self) -> dict[str, Any]:
        """The facts by which a program chooses a size."""
        network = self.cut.model.recognizer
        return {
            "budget": self.budget,
            "size": self.cut.subnet.size,
            "kept": list(self.cut.subnet.kept),
            "params": num_parameters(network),
            "macs": macs(network),
            "files": [asdict(check) for check in self.checks],
        }


class SizesNotAccepted(ArgumentError):
    """An export of several sizes of which some do not match the cut model; nothing is written."""

    def __init__(self, verified: Sequence[Verified]) -> None:
        checks = [(size.budget, check) for size in verified for check in size.checks]
        super().__init__(["int8_margin"], *(f"{size}: {c.problem}" for size, c in checks if c.problem))
        self.verified = verified


def export_bundle(
    bundle: Bundle,
    folder: Path,
    rounded: Collection[Precision],
    examiner: Examiner,
    confidence: Mapping[str, Any] | None = None,
) -> list[Verified]:
    """Export all sizes into ``folder`` if every one of them passes the verification.

    Args:
        bundle: The format and the sizes.
        folder: The folder to create or replace.
        rounded: The precisions in which to write files as well.
        examiner: Verifies the files.
        confidence: The calibration of confidences and the thresholds of cascades, if there are any.

    Returns:
        The sizes with the checks of their files.

    Raises:
        SizesNotAccepted: A file does not match its cut model; nothing is written.
    """
    with whole_folder(folder) as temporary:
        written = bundle.write(temporary, rounded)
        verified = []
        for cut, files in zip(bundle.cuts, written, strict=True):
            checks = examiner.examine(cut, files, partial(bundle.open, cut=cut))
            verified.append(Verified(cut, checks))
        if any(check.problem for size in verified for check in size.checks):
            raise SizesNotAccepted(verified)
        sizes = [size.facts() for size in verified]
        bundle.describe([file.file for files in written for file in files], sizes)
        record = {
            "format": bundle.name,
            "model": description(bundle.model, _common(bundle.cuts)),
            "compared_on_test": verified[0].checks[0].rate is not None,
            "macs_seconds": MACS_SECONDS,
            "sizes": sizes,
            "confidence": confidence,
        }
        write_json(temporary / RECORD, record)
    return verified


def _common(cuts: Sequence[Cut]) -> dict[str, str]:
    """The provenance that all ``cuts`` share."""
    return {key: value for key, value in cuts[0].provenance.items() if key != "budget"}
