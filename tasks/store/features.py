"""Input features of indexed utterances: read from the store where they are, computed from audio elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from supernet.audio.features import Input
from supernet.errors import AudioError
from supernet.task import Split, TaskError
from tasks.audio.acoustics import Room
from tasks.audio.cuts import load_features
from tasks.files.problems import shorten
from tasks.store.index import Index, Utterance
from tasks.store.manifest_folder import ManifestFolder


@dataclass(frozen=True)
class FeatureLoader:
    """Loads the features of utterances of one split."""

    index: Index
    folder: ManifestFolder
    split: Split
    input: Input

    def __call__(self, utterance: Utterance, speed: float = 1.0, room: Room | None = None) -> Tensor:
        """Load the features ``(T, F)`` of an utterance.

        Args:
            utterance: The utterance.
            speed: Factor by which it is sped up.
            room: The echo and noise that are added, if any.

        Raises:
            TaskError: If the audio has changed since it was prepared.
        """
        if self.index.is_stored and speed == 1.0 and room is None:
            return self.index.stored_features(utterance)
        try:
            return load_features(self.folder.cuts[self.split][utterance.position], speed, room, self.input)
        except AudioError as error:
            raise TaskError(
                f"the audio of {shorten(utterance.id)!r} in the {self.split} split must be as it was when it "
                f"was prepared, but is not: {error}. Restore it, then run the same command again."
            ) from error
