"""Corpora in tar files: utterances are those of the same files unpacked, and nothing is ever unpacked."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Fbank, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.features.io import NumpyFilesWriter

from supernet.batch import SPLITS, Skipped, TaskError
from tasks import prepare
from tasks.audio import AudioError, load_features, load_samples
from tasks.entries import Entry
from tasks.forms.webdataset import WEBDATASET
from tasks.manifest import Manifest
from tasks.members import MEMBER, Member, members
from tasks.problems import Problem, Unusable
from tasks.replay import Replay
from tests.supernet.processes import run, settings
from tests.tasks.folders import prepared, tone, write_wav
from tests.tasks.listings import FORMS, NAMES, cuts, pack, shar, webdataset
from tests.tasks.test_scale import MOST, peak

FORMATS: dict[str, dict[str, str]] = {
    "wav": {},
    "flac": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "sph": {"format": "NIST", "subtype": "PCM_16"},
}


def wave(i: int, rate: int = 16_000, channels: int = 1, seconds: float | None = None) -> np.ndarray[Any, Any]:
    """Noise over a tone, another for every ``i``; channels differ."""
    length = seconds or 0.6 + i % 5 / 10
    noise = np.random.default_rng(i).uniform(-0.3, 0.3, (round(length * rate), channels))
    mixed: np.ndarray[Any, Any] = noise + 0.5 * tone(length, 200 + 30 * i, rate)[:, None]
    return mixed


def audio(samples: np.ndarray[Any, Any], rate: int = 16_000, suffix: str = "wav") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": suffix.upper()} | FORMATS[suffix]))
    return file.getvalue()


def sample(key: str, text: str | None = "a bc", i: int = 0) -> dict[str, bytes]:
    return {f"{key}.wav": audio(wave(i))} | ({} if text is None else {f"{key}.txt": text.encode()})


def good(folder: Path, *splits: str) -> Path:
    """Fine shards of five utterances for ``splits``."""
    for split in splits:
        utterances = (sample(f"{split}{i}", i=i) for i in range(5))
        pack(folder / f"{split}-000000.tar", {n: c for files in utterances for n, c in files.items()})
    return folder


def loose_and_packed(folder: Path) -> tuple[Path, Path]:
    """The same utterances, of every kind of audio, as files with a table and in three shards a split."""
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


def test_utterances_are_those_of_loose_files_bit_by_bit(both: tuple[Manifest, Manifest]) -> None:
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


def test_training_batches_are_those_of_loose_files_also_after_a_stop(both: tuple[Manifest, Manifest]) -> None:
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


def test_a_training_ends_with_the_weights_of_loose_files(tmp_path: Path) -> None:
    loose_and_packed(tmp_path)
    weights = []
    for name in ("loose", "packed"):
        options = settings(num_steps=3, publish_every=3, checkpoint_every=3, validate_every=3)
        options[1] = name
        run("supernet.train", *options, "--out", f"runs/{name}", cwd=tmp_path)
        weights.append((tmp_path / "runs" / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def skipped(folder: Path) -> set[tuple[str, str, str, str]]:
    """Split, name, kind and place (without folders) of what is left out."""
    return {_short(one) for one in prepared(folder, max_skipped=0.95).skipped()}


def _short(one: Skipped) -> tuple[str, str, str, str]:
    kind, _, rest = one.reason.partition(":")
    return one.split, one.id, kind, rest.rpartition("(")[2].rstrip(")").rpartition("/")[2]


def test_every_problem_of_a_tar_is_listed_and_the_others_are_used(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    files = {
        **sample("ok", i=1),
        "noise.wav": b"no audio at all",
        "noise.txt": b"a",
        **sample("silent", None),
        "unsaid.txt": b"a",
        "zero.wav": b"",
        "zero.txt": b"a",
        **sample("two"),
        "two.flac": audio(wave(0), suffix="flac"),
        **sample("odd", None),
        "odd.json": b'["a"]',
        **sample("lost", None),
        "lost.json": b'{"text": "a", "split": "trian"}',
        **sample("latin", None),
        "latin.txt": "für".encode("latin-1"),
        **sample("long", None),
        "long.json": b'{"text": "a", "duration": 9}',
        "phone.m4a": b"....ftypM4A ",
        "phone.txt": b"a",
        "ok.again/ok.wav": b"",
        "._ok.wav": b"what a Mac adds",
        "LICENSE": b"free",
    }
    tar = pack(tmp_path / "train-000000.tar", files)
    with tarfile.open(tar, "a") as archive:
        for name, content in sample("ok", i=2).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    place = "train-000000.tar"
    assert skipped(tmp_path) == {
        ("train", "noise", "unreadable", f"{place}:noise.wav"),
        ("train", "silent", "audio without text", f"{place}:silent.wav"),
        ("train", "unsaid", "text without audio", f"{place}:unsaid.txt"),
        ("train", "zero", "zero length", f"{place}:zero.wav"),
        ("train", "two", "duplicate", f"{place}:two.wav"),
        ("train", "odd", "bad line", f"{place}:odd.wav"),
        ("train", "lost", "bad line", f"{place}:lost.wav"),
        ("train", "latin", "bad line", f"{place}:latin.wav"),
        ("train", "long", "segment", f"{place}:long.wav"),
        ("train", "phone", "unreadable", f"{place}:phone.m4a"),
        ("train", "ok.again/ok", "audio without text", "ok.wav"),
        ("train", "ok", "duplicate", f"{place}:ok.wav"),
        ("train", "", "unreadable", place),
    }
    assert [cut.id for cut in prepared(tmp_path, max_skipped=0.95).folder.cuts["train"]] == ["ok"]


def test_members_need_not_lie_together(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    files = {name: content for i in range(8) for name, content in sample(f"u{i}", i=i).items()}
    names = sorted(files, key=lambda name: (name.endswith(".txt"), name))
    pack(tmp_path / "train.tar", {name: files[name] for name in names})
    task = prepared(tmp_path)
    assert task.skipped() == []
    for cut in task.folder.cuts["train"]:
        (tmp_path / "one.wav").write_bytes(files[f"{cut.id}.wav"])
        expected = soundfile.read(tmp_path / "one.wav", dtype="float32")[0]
        assert torch.equal(load_samples(cut), torch.from_numpy(expected))


Damage = Callable[[Path], object]


def _cut_at(size: float) -> Damage:
    return lambda tar: os.truncate(tar, round(size * 512))


def _scribble(tar: Path) -> None:
    """Over the header of the third member."""
    with open(tar, "rb") as file:
        third = [member for member in members(file) if isinstance(member, Member)][2]
    with open(tar, "r+b") as file:
        file.seek(third.offset - 512)
        file.write(b"\xff" * 512)


def _gzip(tar: Path) -> None:
    tar.write_bytes(gzip.compress(tar.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "used", "says"),
    [
        (_cut_at(60), 1, "the tar breaks off or is damaged: unexpected end of data"),
        (_scribble, 1, "the tar breaks off or is damaged at byte"),
        (_gzip, 0, "is packed with gzip: unpack it with `gzip -d`"),
        (_cut_at(0), 0, "must be a tar, but is an empty file"),
        (_cut_at(0.5), 0, "the tar breaks off or is damaged: "),
        (lambda tar: tar.write_bytes(bytes(10240)), 0, "the tar is empty"),
        (lambda tar: tar.write_bytes(b"no tar at all" * 100), 0, "the tar breaks off or is damaged: "),
        (lambda tar: pack(tar, {"notes.md": b"x"}), 0, "the tar has neither audio nor texts"),
    ],
    ids=["cut", "scribbled", "gzip", "no bytes", "no block", "no members", "no tar", "nothing of use"],
)
def test_a_damaged_tar_is_named_and_what_is_whole_in_it_is_used(
    tmp_path: Path, damage: Damage, used: int, says: str
) -> None:
    good(tmp_path, "train", "dev", "test")
    bad = shutil.copy(tmp_path / "train-000000.tar", tmp_path / "train-000001.tar")
    files = {name: content for i in range(5) for name, content in sample(f"bad{i}", i=5 + i).items()}
    damage(pack(Path(bad), files))
    task = prepared(tmp_path, max_skipped=0.9)
    assert len(task.folder.cuts["train"]) == 5 + used
    reasons = [one.reason for one in task.skipped()]
    assert any(says in reason and str(bad) in reason for reason in reasons), reasons


def test_a_tar_without_its_end_mark_is_named(tmp_path: Path) -> None:
    """What has been cut between two members has nothing else that tells."""
    tar = good(tmp_path, "train") / "train-000000.tar"
    with open(tar, "rb") as file:
        last = list(members(file))[-1]
    assert isinstance(last, Member)
    os.truncate(tar, last.offset + 512)
    with open(tar, "rb") as file:
        *found, end = members(file)
    assert len(found) == 10
    assert isinstance(end, Unusable)


def test_compressed_tars_alone_stop_at_once_and_say_what_to_do(tmp_path: Path) -> None:
    good(tmp_path, "train", "dev")
    for tar in list(tmp_path.glob("*.tar")):
        tar.with_name(f"{tar.name}.gz").write_bytes(gzip.compress(tar.read_bytes()))
        tar.unlink()
    for path in (tmp_path, tmp_path / "dev-000000.tar.gz"):
        with pytest.raises(TaskError, match=r"must hold uncompressed tars, but has dev-000000\.tar\.gz"):
            prepared(path)


def test_downloads_beside_a_listing_are_none(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["csv"](tmp_path, name)
        pack(tmp_path / f"{name}.tar", {})
        (tmp_path / f"{name}.tar.gz").write_bytes(b"x")
    assert prepared(tmp_path).skipped() == []


def test_tars_without_names_of_splits_are_divided(tmp_path: Path) -> None:
    for number in range(3):
        utterances = (sample(f"u{number}{i}", i=i) for i in range(4))
        pack(tmp_path / f"{number:06d}.tar", {n: c for files in utterances for n, c in files.items()})
    assert [len(prepared(tmp_path).folder.cuts[split]) for split in SPLITS] == [10, 1, 1]
    assert [len(prepared(tmp_path / "000001.tar").folder.cuts[split]) for split in SPLITS] == [2, 1, 1]


def test_a_changed_tar_is_another_corpus(tmp_path: Path) -> None:
    """Also for manifests that were made before: places in it are never taken for others' bytes."""
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


def test_swapped_utterances_of_equal_size_are_noticed(tmp_path: Path) -> None:
    files = {f"u{i}.wav": audio(wave(i, seconds=1.0)) for i in range(2)}
    tar = pack(tmp_path / "a.tar", files)
    with open(tar, "rb") as file:
        place = next(members(file))
    assert isinstance(place, Member)
    assert load_samples(member_cut(tar, place)).shape == (16000,)
    pack(tar, dict(reversed(files.items())))
    with pytest.raises(AudioError, match="but the tar has changed"):
        load_samples(member_cut(tar, place))


def member_cut(tar: Path, place: object) -> Cut:
    """A cut as a manifest, perhaps a stranger's, has it."""
    cut: Cut = Recording.from_file(write_wav(tar.with_name("any.wav"), tone(1.0))).to_cut()
    cut.recording.sources[0].source = str(tar)
    as_json = cut.to_dict() | {"custom": {MEMBER: _as_json(place)}}
    return next(iter(CutSet.from_dicts([as_json])))


def _as_json(place: object) -> object:
    if not isinstance(place, Member):
        return place
    return {name: getattr(place, name) for name in ("name", "offset", "size", "header")}


def test_places_of_a_stranger_end_in_one_clear_reason(tmp_path: Path) -> None:
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
    with pytest.raises(AudioError, match="No such file"):
        load_samples(member_cut(tmp_path / "gone.tar", right))


def test_a_member_of_an_address_or_a_command_is_not_opened(tmp_path: Path) -> None:
    tar = pack(tmp_path / "a.tar", sample("u"))
    with open(tar, "rb") as file:
        cut = member_cut(tar, next(members(file)))
    for kind, source in (("command", f"touch {tmp_path / 'ran'}"), ("url", "http://127.0.0.1:9/a.tar")):
        cut.recording.sources[0].type, cut.recording.sources[0].source = kind, source
        with pytest.raises(AudioError, match=f"must be a file, but is {kind} instead"):
            load_samples(cut)
    assert not (tmp_path / "ran").exists()


def test_prepare_decodes_members_and_lists_what_breaks_off(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", ["flac", "wav", "mp3"])
def test_shar_is_read_as_lhotse_reads_it(tmp_path: Path, kind: str) -> None:
    source = []
    for i in range(7):
        file = write_wav(tmp_path / "audio" / f"u.{i}.wav", wave(i, channels=1 + (i == 3)))
        recording = Recording.from_file(file, recording_id=f"rec/u.{i}")
        cut = recording.to_cut().truncate(offset=0.1, duration=0.4, preserve_id=True)
        span = (0.1, 0.2) if i == 4 else (0.0, 0.4)
        cut.supervisions = [
            SupervisionSegment(cut.id, recording.id, *span, cut.channel, text="a bc", custom={"x": 1})
        ]
        cut.note = "of no use"
        source.append(cut)
    for name in NAMES.values():
        (tmp_path / "shar" / name).mkdir(parents=True)
        fields = {"recording": kind, "note": "jsonl"}
        CutSet.from_cuts(source).to_shar(tmp_path / "shar" / name, fields=fields, shard_size=3)
    task = prepared(tmp_path / "shar")
    for split, name in NAMES.items():
        theirs = {cut.id: cut for cut in CutSet.from_shar(in_dir=tmp_path / "shar" / name)}
        ours = list(task.folder.cuts[split])
        assert [cut.id for cut in ours] == list(theirs)
        for cut in ours:
            expected = theirs[cut.id].load_audio().mean(axis=0)
            assert torch.equal(load_samples(cut), torch.from_numpy(expected))


def repack(tar: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    with tarfile.open(tar) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    pack(tar, change(files))


def test_cuts_and_audio_of_a_shard_need_not_be_in_one_order(tmp_path: Path) -> None:
    for name in NAMES.values():
        shar(tmp_path, name)
        for tar in (tmp_path / name).glob("recording*.tar"):
            repack(tar, lambda files: dict(random.Random(0).sample(list(files.items()), len(files))))
    task = prepared(tmp_path)
    assert task.skipped() == []
    said = {cut.supervisions[0].text: round(cut.duration, 6) for cut in task.folder.cuts["train"]}
    assert said == {"a bc": 1.0, "bc": 1.2, "c a": 1.4}


def write_shar(folder: Path, found: list[Cut], field: str = "recording") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"recording": "flac", "features": "numpy"}[field]
    CutSet.from_cuts(found).to_shar(folder, fields={field: kind}, warn_unused_fields=False)
    return folder


def test_every_problem_of_a_shard_is_listed(tmp_path: Path) -> None:
    for name in ("dev", "test"):
        shar(tmp_path, name)
    found = list(cuts(tmp_path / "source"))
    for id in ("none", "outside", "many", "mute", "unread", "gone"):
        cut = found[0].with_id(id)
        cut.supervisions = [replace(found[0].supervisions[0], id=id)]
        found.append(cut)
        if id == "none":
            cut.recording = None
        if id == "outside":
            cut.supervisions[0].duration = 1.5
        if id == "many":
            cut.supervisions *= 2
        if id == "mute":
            cut.supervisions = []
    folder = write_shar(tmp_path / "train", found)
    cut_file = folder / "cuts.000000.jsonl.gz"
    lines = gzip.decompress(cut_file.read_bytes()).decode().splitlines()
    unread, lines[7] = lines[7], "{"
    assert json.loads(unread)["id"] == "unread"
    cut_file.write_bytes(gzip.compress("\n".join([*lines, "[]", '{"id": "x"}', lines[0]]).encode()))
    repack(folder / "recording.000000.tar", lambda files: {n: c for n, c in files.items() if "gone" not in n})
    assert skipped(tmp_path) == {
        ("train", "none", "text without audio", "cuts.000000.jsonl.gz:4"),
        ("train", "outside", "segment", "cuts.000000.jsonl.gz:5"),
        ("train", "many", "bad line", "cuts.000000.jsonl.gz:6"),
        ("train", "mute", "audio without text", "cuts.000000.jsonl.gz:7"),
        ("train", "", "bad line", "cuts.000000.jsonl.gz:8"),
        ("train", "gone", "text without audio", "cuts.000000.jsonl.gz:9"),
        ("train", "", "bad line", "cuts.000000.jsonl.gz:10"),
        ("train", "x", "bad line", "cuts.000000.jsonl.gz:11"),
        ("train", found[0].id, "duplicate", "cuts.000000.jsonl.gz:12"),
        ("train", "unread", "audio without text", "recording.000000.tar:unread.flac"),
    }


def test_features_without_recordings_do_not_do(tmp_path: Path) -> None:
    for name in ("dev", "test"):
        shar(tmp_path, name)
    with NumpyFilesWriter(tmp_path / "store") as store:
        found = [cut.compute_and_store_features(Fbank(), store) for cut in cuts(tmp_path / "source")]
    folder = write_shar(tmp_path / "train", found, "features")
    with pytest.raises(TaskError, match=r"train\.jsonl\.gz` must hold utterances, but is empty") as error:
        prepared(tmp_path)
    listed = Path(str(error.value).rpartition("and why: ")[2].removesuffix("."))
    problems = [line.split("\t") for line in listed.read_text().splitlines()[1:]]
    assert [kind for _, _, kind, *_ in problems if kind != "same audio"] == ["text without audio"] * 3
    with pytest.raises(TaskError) as error:
        prepared(folder)
    assert "there is no recording.000000.tar; features alone do not do" in str(error.value)
    assert "fields={'recording': 'flac'}" in str(error.value)


def test_cuts_that_break_off_are_named(tmp_path: Path) -> None:
    for name in NAMES.values():
        shar(tmp_path, name)
    cut_file = tmp_path / "train" / "cuts.000000.jsonl.gz"
    os.truncate(cut_file, cut_file.stat().st_size - 8)
    assert skipped(tmp_path) == {("train", "", "unreadable", "cuts.000000.jsonl.gz:3")}


def test_one_shard_may_be_named(tmp_path: Path) -> None:
    folder = write_shar(tmp_path / "mine", list(cuts(tmp_path / "source")))
    for path in (folder, folder / "cuts.000000.jsonl.gz"):
        assert sorted(len(prepared(path).folder.cuts[split]) for split in SPLITS) == [1, 1, 1]


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
    next(replay())  # given up in the middle
    assert list(replay()) == items
    assert list(replay()) == list(replay()) == items
    assert len(reads) == 2


def test_listing_a_tar_takes_no_more_memory_for_more_utterances(tmp_path: Path) -> None:
    peaks = {}
    for number in (50, 50, 1050):  # the first imports what is imported but once
        files = {f"u{i}.{end}": b"a" for i in range(number) for end in ("wav", "txt")}
        tar = pack(tmp_path / f"{number}.tar", files)
        peaks[number] = peak(lambda tar=tar: sum(1 for _ in WEBDATASET.read(tar, None)))  # type: ignore[misc]
    assert peaks[1050] - peaks[50] < MOST * 1000


def test_every_tar_is_opened_once_to_be_listed(tmp_path: Path) -> None:
    webdataset(tmp_path, "all")
    task = Manifest(Manifest.Options.model_validate({"path": tmp_path, "cache": tmp_path / "cache"}))
    first = list(task.source.read())
    (tmp_path / "all-000000.tar").unlink()
    assert list(task.source.read()) == first
    assert len(first) == 3
