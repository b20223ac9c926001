"""Assignment of utterances to splits that the corpus lacks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supernet.task import SPLITS
from tasks.listing.entries import Entries, Entry, Source
from tasks.listing.splits import SplitAssigner


def entries(number: int, speakers: int, given: dict[int, str] | None = None) -> Entries:
    for i in range(number):
        split = (given or {}).get(i)
        speaker = f"s{i % speakers}" if speakers else None
        yield Entry(f"u{i}", f"list:{i}", None, "a", split, speaker=speaker)  # type: ignore[arg-type]


def divided(
    read: Entries, again: Entries, held_out: float | None = 0.1, by_speaker: bool = False
) -> dict[str, list[Entry]]:
    assigner = SplitAssigner(Source((), lambda: read, held_out=held_out, by_speaker=by_speaker))
    found: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for entry in again:
        assert isinstance(entry, Entry)
        found[assigner.split(entry)].append(entry)
    return found


def test_missing_splits_are_held_out() -> None:
    found = divided(entries(200, 9), entries(200, 9))
    assert {split: len(of_one) for split, of_one in found.items()} == {"train": 160, "valid": 20, "test": 20}
    again = divided(entries(200, 9), entries(200, 9))
    assert found == again


def test_splits_share_no_speaker_if_speakers_are_known() -> None:
    found = divided(entries(200, 20), entries(200, 20))
    speakers = {split: {entry.speaker for entry in of_one} for split, of_one in found.items()}
    assert {split: len(of_one) for split, of_one in speakers.items()} == {"train": 16, "valid": 2, "test": 2}
    assert not speakers["train"] & speakers["valid"] | speakers["train"] & speakers["test"]
    assert not speakers["valid"] & speakers["test"]


@given(speakers=st.integers(3, 120), more=st.integers(0, 60), held_out=st.floats(0.01, 0.3))
def test_splits_by_speaker_never_share_a_speaker(speakers: int, more: int, held_out: float) -> None:
    both = [entries(speakers + more, speakers) for _ in range(2)]
    found = divided(both[0], both[1], held_out, by_speaker=True)
    of_split = [{entry.speaker for entry in found[split]} for split in SPLITS]
    assert all(of_split)
    assert sum(map(len, of_split)) == speakers == len(set().union(*of_split))


def test_existing_splits_are_kept() -> None:
    given = dict.fromkeys(range(50), "test")
    found = divided(entries(200, 0, given), entries(200, 0, given))
    assert [entry.id for entry in found["test"]] == [f"u{i}" for i in range(50)]
    assert (len(found["train"]), len(found["valid"])) == (135, 15)


def test_official_splits_are_not_divided() -> None:
    given = dict.fromkeys(range(50), "test")
    found = divided(entries(200, 0, given), entries(200, 0, given), held_out=None)
    assert {split: len(of_one) for split, of_one in found.items()} == {"train": 150, "valid": 0, "test": 50}
