"""Locations of members: in a tar file, in one that has changed, and in untrusted manifests."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from lhotse import CutSet, Recording
from lhotse.cut import Cut

from supernet.errors import AudioError
from tasks.audio.cuts import load_samples
from tasks.files.members import MEMBER, Member, members
from tasks.files.problems import Unusable
from tests.tasks.folders import tone, write_wav
from tests.tasks.listings import pack
from tests.tasks.shards import audio, good, sample, wave


def test_a_tar_without_end_mark_is_truncated(tmp_path: Path) -> None:
    """Truncation between two members shows in no other way."""
    tar = good(tmp_path, "train") / "train-000000.tar"
    with open(tar, "rb") as file:
        last = list(members(file))[-1]
    assert isinstance(last, Member)
    os.truncate(tar, last.offset + 512)
    with open(tar, "rb") as file:
        *found, end = members(file)
    assert len(found) == 10
    assert isinstance(end, Unusable)


def member_cut(tar: Path, place: object) -> Cut:
    """A cut as it is read from a manifest, which may be untrusted."""
    cut: Cut = Recording.from_file(write_wav(tar.with_name("any.wav"), tone(1.0))).to_cut()
    cut.recording.sources[0].source = str(tar)
    as_json = cut.to_dict() | {"custom": {MEMBER: asdict(place) if isinstance(place, Member) else place}}
    return next(iter(CutSet.from_dicts([as_json])))


def test_swapped_utterances_of_equal_size_are_detected(tmp_path: Path) -> None:
    files = {f"u{i}.wav": audio(wave(i, seconds=1.0)) for i in range(2)}
    tar = pack(tmp_path / "a.tar", files)
    with open(tar, "rb") as file:
        place = next(members(file))
    assert isinstance(place, Member)
    assert load_samples(member_cut(tar, place)).shape == (16000,)
    pack(tar, dict(reversed(files.items())))
    with pytest.raises(AudioError, match="but the tar has changed"):
        load_samples(member_cut(tar, place))


def test_each_invalid_location_gives_one_clear_reason(tmp_path: Path) -> None:
    tar = pack(tmp_path / "a.tar", sample("u"))
    with open(tar, "rb") as file:
        right = next(members(file))
    assert isinstance(right, Member)
    wrong = [
        replace(right, size=10**15),
        replace(right, offset=10**30),
        replace(right, offset=-512),
        replace(right, size=-1),
        replace(right, offset=right.offset + 512),
        replace(right, offset="0"),  # type: ignore[arg-type]
        replace(right, size=True),
        {"name": "u"},
        [0, 1],
        "touch ran |",
        7,
    ]
    for place in wrong:
        with pytest.raises(AudioError, match=r"cannot be read: .*must") as error:
            load_samples(member_cut(tar, place))
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(AudioError, match="no such file"):
        load_samples(member_cut(tmp_path / "gone.tar", right))


def test_members_of_urls_and_commands_are_not_opened(tmp_path: Path) -> None:
    tar = pack(tmp_path / "a.tar", sample("u"))
    with open(tar, "rb") as file:
        cut = member_cut(tar, next(members(file)))
    for kind, source in (("command", f"touch {tmp_path / 'ran'}"), ("url", "http://127.0.0.1:9/a.tar")):
        cut.recording.sources[0].type, cut.recording.sources[0].source = kind, source
        with pytest.raises(AudioError, match=f"must be a file, but is {kind} instead"):
            load_samples(cut)
    assert not (tmp_path / "ran").exists()
