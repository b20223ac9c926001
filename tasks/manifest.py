"""Anybody's own corpus: a folder of Lhotse manifests."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from supernet.batch import Report, TaskError
from tasks.corpus import CorpusOptions, CorpusTask


class ManifestOptions(CorpusOptions):
    """Options of a manifest folder."""

    path: Path = Field(description="A folder with train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz.")
    batch_seconds: float = Field(
        default=160.0, gt=0, description="Seconds of speech in a training batch of one rank."
    )


class Manifest(CorpusTask):
    """The task of ``--task PATH``. Nothing is ever written into the folder."""

    name = "manifest"
    Options = ManifestOptions

    @property
    def path(self) -> Path:
        return Path(self.options.path)

    def make(self, report: Report) -> None:
        if not self.path.is_dir():
            raise TaskError(
                f"`path` must be a folder of manifests, but {str(self.path)!r} is none. Give an existing one."
            )
