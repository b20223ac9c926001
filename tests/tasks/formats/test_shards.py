"""Corpora in tar files: their utterances equal those of the unpacked files, and nothing is ever unpacked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.task import SPLITS, TaskError
from tasks import prepare
from tasks.audio.cuts import load_features, load_samples
from tasks.files.members import Member
from tasks.files.problems import Problem
from tasks.formats.webdataset import WebDataset
from tasks.listing.entries import Entry
from tasks.listing.replay import Replay
from tasks.manifest import Manifest
from tests.supernet.processes import run, settings
from tests.tasks.folders import prepared
from tests.tasks.listings import NAMES, pack, webdataset
from tests.tasks.shards import FORMATS, audio, good, sample, wave
from tests.tasks.store.test_scale import MAX_BYTES, peak

pytestmark = pytest.mark.slow


def loose_and_packed(folder: Path) -> tuple[Path, Path]:
    """Write the same utterances, in all audio formats, as files with a table and as three shards a split."""
    loose, packed, lines = folder / "loose", folder / "packed", ["path,text,speaker,split,offset,duration,id"]
    for split in ("train", "dev", "test"):
        shards: list[dict[str, bytes]] = [{}, {}, {}]
        for i in range(18):
            suffix = list(FORMATS)[i % len(FORMATS)]
            rate, channels = (48_000 if suffix == "opus" else (16_000, 8_000)[i % 5 == 0]), 1 + (i % 4 == 0)
            content = audio(wave(i, rate, channels), rate, suffix)
            offset, duration = ("0.1", "0.4") if i % 3 == 2 else ("", "")
            text = ("a bc", "bc a", "c")[i % 3]
            row = {"text": text, "speaker": f"s{i % 2}", "offset": offset, "duration": duration}
            (loose / "audio").mkdir(parents=True, exist_ok=True)
            (loose / "audio" / f"{split}{i}.{suffix}").write_bytes(content)
            lines.append(
                f"audio/{split}{i}.{suffix},{text},s{i % 2},{split},{offset},{duration},{split}/{split}{i}"
            )
            shard = shards[i // 6]
            shard[f"{split}/{split}{i}.{suffix}"] = content
            shard[f"{split}/{split}{i}.json"] = json.dumps(row).encode()
        for number, files in enumerate(shards):
            pack(packed / split / f"{number:06d}.tar", files)
    (loose / "all.csv").write_text("\n".join(lines) + "\n")
    return loose, packed


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Manifest]:
    folders = loose_and_packed(tmp_path_factory.mktemp("both"))
    loose, packed = (prepared(folder, store_hours=0, speed_perturb=(0.9, 1.0, 1.1)) for folder in folders)
    return loose, packed


def test_utterances_equal_those_of_separate_files_bit_by_bit(both: tuple[Manifest, Manifest]) -> None:
    for split in SPLITS:
        loose, packed = (list(task.folder.cuts[split]) for task in both)
        assert [cut.id for cut in packed] == [cut.id for cut in loose]
        assert len(loose) == 18
        for a, b in zip(loose, packed, strict=True):
            assert (a.start, a.duration, a.num_channels) == (b.start, b.duration, b.num_channels)
            assert a.supervisions[0].text == b.supervisions[0].text
            assert a.supervisions[0].speaker == b.supervisions[0].speaker
            for speed in (1.0, 0.9):
                assert torch.equal(load_samples(a, speed), load_samples(b, speed))
            assert torch.equal(load_features(a), load_features(b))
    assert [task.skipped() for task in both] == [[], []]


def test_training_batches_equal_those_of_separate_files_also_when_resumed(
    both: tuple[Manifest, Manifest],
) -> None:
    ours, theirs, resumed = (
        task.train_reader(task.tokens(), seed=3, rank=0, num_ranks=1) for task in (*both, both[1])
    )
    for number in range(6):
        a, b = next(ours), next(theirs)
        assert a.ids == b.ids
        assert torch.equal(a.features_BTF, b.features_BTF)
        assert torch.equal(a.targets_BL, b.targets_BL)
        if number == 3:
            resumed.load_state_dict(theirs.state_dict())
        if number > 3:
            assert torch.equal(next(resumed).features_BTF, b.features_BTF)


def test_training_gives_the_same_weights_as_separate_files(tmp_path: Path) -> None:
    loose_and_packed(tmp_path)
    weights = []
    for name in ("loose", "packed"):
        options = settings(num_steps=3, publish_every=3, checkpoint_every=3, validate_every=3)
        options[1] = name
        run("supernet.train", *options, "--out", f"runs/{name}", cwd=tmp_path)
        weights.append((tmp_path / "runs" / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_changed_tar_gives_a_new_corpus(tmp_path: Path) -> None:
    """Manifests made before the change are errors: other bytes are never read instead of a member."""
    tar = good(tmp_path / "corpus", "train", "dev", "test") / "train-000000.tar"
    prepare.main([str(tmp_path / "corpus"), "--out", str(tmp_path / "made")])
    made, before = prepared(tmp_path / "made"), prepared(tmp_path / "corpus")
    files = {name: content for i in (1, 0, 2, 3, 4) for name, content in sample(f"train{i}", i=i).items()}
    equal = {f"train{i}.wav": audio(wave(i, seconds=0.6)) for i in range(5)}
    pack(tar, files | equal)
    after = prepared(tmp_path / "corpus")
    assert after.source.digest != before.source.digest
    with pytest.raises(TaskError, match=r"cannot be read: .* must lie (at byte|in)"):
        prepared(tmp_path / "made")
    options = {"path": tmp_path / "made", "cache": tmp_path / "cache"}
    fresh = Manifest(Manifest.Options.model_validate(options))
    assert fresh.folder.fingerprint != made.folder.fingerprint


def test_prepare_decodes_members_and_reports_truncated_ones(tmp_path: Path) -> None:
    whole = audio(wave(0, seconds=2.0), suffix="flac")
    for split in NAMES.values():
        files = {"a.flac": whole, "a.txt": b"a", "b.flac": whole[: len(whole) // 2], "b.txt": b"a"}
        pack(tmp_path / "corpus" / f"{split}.tar", files)
    options = ["--out", "made", "--set", "max_skipped=0.5"]
    printed, _ = run("tasks.prepare", "corpus/", *options, "--decode", cwd=tmp_path)
    assert "unreadable" in printed
    assert "train.tar:b.flac" in printed
    lines = (tmp_path / "made" / "problems.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[1:3] for line in lines] == [["b", "unreadable"]] * 3
    task = prepared(tmp_path / "made", max_skipped=0.5)
    assert [len(task.folder.cuts[split]) for split in SPLITS] == [1, 1, 1]


def test_listing_a_tar_needs_constant_memory(tmp_path: Path) -> None:
    peaks = {}
    for number in (50, 50, 1050):  # the first one includes imports
        files = {f"u{i}.{end}": b"a" for i in range(number) for end in ("wav", "txt")}
        tar = pack(tmp_path / f"{number}.tar", files)
        peaks[number] = peak(lambda tar=tar: sum(1 for _ in WebDataset().read(tar, None)))  # type: ignore[misc]
    assert peaks[1050] - peaks[50] < MAX_BYTES * 1000


def test_a_listing_is_read_once_and_replayed() -> None:
    items: list[Entry | Problem] = [
        Entry("u", "list:1", Path("a.tar"), "a \udc80", member=Member("u.wav", 512, 3, "ab")),
        Problem("train", "v", "bad line", "list:2", "x"),
    ]
    reads: list[int] = []

    def read() -> Any:
        reads.append(0)
        yield from items

    replay = Replay(read)
    next(replay())  # abandoned before the end
    assert list(replay()) == items
    assert list(replay()) == list(replay()) == items
    assert len(reads) == 2


def test_every_tar_is_listed_only_once(tmp_path: Path) -> None:
    webdataset(tmp_path, "all")
    task = Manifest(Manifest.Options.model_validate({"path": tmp_path, "cache": tmp_path / "cache"}))
    first = list(task.source.read())
    (tmp_path / "all-000000.tar").unlink()
    assert list(task.source.read()) == first
    assert len(first) == 3
