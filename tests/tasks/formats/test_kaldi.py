"""Kaldi's data folders: their files may disagree, and commands in them are never run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from supernet.task import SPLITS
from tasks.audio.cuts import load_samples
from tasks.formats.pipes import parse_source
from tests.tasks.corpora import write_flac, write_sph
from tests.tasks.folders import prepared, tone
from tests.tasks.listings import NAMES, WRITERS


@pytest.mark.parametrize(
    ("entry", "file", "channel"),
    [
        ("/data/a.wav", "/data/a.wav", None),
        ("flac -c -d -s /data/a.flac |", "/data/a.flac", None),
        ("flac -dcs /data/a.flac |", "/data/a.flac", None),
        ("flac --decode --stdout --totally-silent -- /data/a.flac |", "/data/a.flac", None),
        ("/opt/kaldi/sph2pipe -f wav -p -c 1 /data/a.sph|", "/data/a.sph", 0),
        ("sph2pipe -pc2 -f rif /data/a.sph |", "/data/a.sph", 1),
        ("sph2pipe /data/a.sph -f sph |", "/data/a.sph", None),
        ("cat '/data/a b.wav' |", "/data/a b.wav", None),
    ],
)
def test_commands_that_only_decode_are_read_as_files(entry: str, file: str, channel: int | None) -> None:
    assert parse_source(entry) == (file, channel)


OTHERS = """
sph2pipe -f wav -p -t 1:2 a.wav
sph2pipe -f wav -s 16000:32000 a.wav
sph2pipe -f wav -u a.wav
sph2pipe -f wav -a a.wav
sph2pipe -f wav -h header a.wav
sph2pipe -f wav -c 0 a.wav
sph2pipe -f wav -c 3 a.wav
sph2pipe -c 1 -c 2 a.wav
sph2pipe -f mp3 a.wav
sph2pipe -f wav a.wav b.wav
sph2pipe -x a.wav
sph2pipe
flac -c -d --skip=16000 a.wav
flac -c -d --skip 0:01.5 a.wav
flac -cd --until=-0:01 a.wav
flac -cd --until 16000 a.wav
flac -cd --cue=1.1-2.1 a.wav
flac -cd --apply-replaygain-which-is-not-lossless a.wav
flac -d a.wav
flac -c a.wav
flac -cd a.wav b.wav
flac -cd -o b.wav a.wav
flac -cd -
cat a.wav b.wav
cat -n a.wav
cat -
cat *.wav
gunzip -c a.wav
sox a.wav -t wav - remix 1
ffmpeg -i a.wav -f wav -ac 1 -ar 16000 -
"""


@pytest.mark.parametrize("command", OTHERS.strip().splitlines())
def test_commands_that_change_the_audio_are_problems(tmp_path: Path, command: str) -> None:
    for name in NAMES.values():
        WRITERS["kaldi"](tmp_path, name)
    write_flac(tmp_path / "data" / "train" / "a.wav", 3.0)
    with open(tmp_path / "data" / "train" / "wav.scp", "a", encoding="utf-8") as file:
        file.write(f"u9 {command} |\n")
    with open(tmp_path / "data" / "train" / "text", "a", encoding="utf-8") as file:
        file.write("u9 a bc\n")
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert (skipped.id, skipped.reason.split(":")[0]) == ("u9", "command")
    assert command in skipped.reason


def two_voices(folder: Path) -> dict[int, torch.Tensor]:
    """Write a call with two channels in NIST's format to ``folder/F.sph``.

    Returns:
        The decoded samples of each channel.
    """
    both = np.stack([tone(2.0, 300), tone(2.0, 700)], axis=1)
    write_sph(folder / "F.sph", both)
    heard, _ = soundfile.read(folder / "F.sph", dtype="float32")
    return {channel: torch.from_numpy(heard[:, channel]) for channel in (0, 1)}


def samples(folder: Path) -> dict[str, torch.Tensor]:
    task = prepared(folder, max_skipped=0.5)
    return {cut.id: load_samples(cut) for split in SPLITS for cut in task.folder.cuts[split]}


MORE = [f"x{i}" for i in range(9)]
"""Names of valid utterances."""


def write_data(folder: Path, **files: str) -> Path:
    """Write a data folder with ``files``, in which ``:`` ends a line, and some more valid utterances."""
    formats = {"wav_scp": "{0} {0}.flac:", "text": "{0} a:", "segments": "{0} {0} 0 1:"}
    for name in MORE:
        write_flac(folder / f"{name}.flac", 1.0)
    for name, content in files.items():
        content += "".join(formats.get(name, "").format(one) for one in MORE)
        (folder / name.replace("_scp", ".scp")).write_text(content.replace(":", "\n"), encoding="utf-8")
    return folder


PIPE = "sph2pipe -f wav -p"


@pytest.mark.parametrize(
    "files",
    [
        {"wav_scp": f"A {PIPE} -c 1 F.sph |:B {PIPE} -c 2 F.sph |:M {PIPE} F.sph |:", "text": "A a:B a:M a:"},
        {
            "wav_scp": "A F.sph:B F.sph:M F.sph:",
            "text": "A a:B a:M a:",
            "reco2file_and_channel": "A F A:B F B:M M A:",
        },
        {"wav_scp": "F F.sph:", "segments": "A F 0 2 0:B F 0 2 1:M F 0 2 -1:", "text": "A a:B a:M a:"},
        {
            "wav_scp": "F-A F.sph:F-B F.sph:F F.sph:",
            "segments": "A F-A 0 2:B F-B 0 2:M F 0 2:",
            "text": "A a:B a:M a:",
            "reco2file_and_channel": "F-A F 1:F-B F 2:F F A:",
        },
        {
            "wav_scp": f"F-A {PIPE} -c 1 F.sph |:F-B {PIPE} -c 2 F.sph |:F {PIPE} F.sph |:",
            "segments": "A F-A 0 2 0:B F-B 0 2:M F 0 2:",
            "text": "A a:B a:M a:",
        },
    ],
    ids=["pipes", "reco2file_and_channel", "segments", "segments of recordings", "segments of pipes"],
)
def test_channels_are_read_separately(tmp_path: Path, files: dict[str, str]) -> None:
    voices = two_voices(tmp_path)
    heard = samples(write_data(tmp_path, **files))
    assert torch.equal(heard["A"], voices[0])
    assert torch.equal(heard["B"], voices[1])
    assert torch.allclose(heard["M"], (voices[0] + voices[1]) / 2, atol=1e-6)


def test_missing_channels_are_problems(tmp_path: Path) -> None:
    two_voices(tmp_path)
    write_sph(tmp_path / "mono.sph", tone(2.0))
    wav = f"F-A {PIPE} -c 1 F.sph |:F F.sph:mono {PIPE} -c 2 mono.sph |:"
    segments = "a F-A 0 2 1:b F 0 2 2:c F 0 2 left:d mono 0 2:e F 0 2 0 0:"
    write_data(tmp_path, wav_scp=wav, segments=segments, text="a a:b a:c a:d a:e a:")
    task = prepared(tmp_path, max_skipped=0.9)
    found = {s.id: s.reason.split(" (")[0].split("/")[0] for s in task.skipped()}
    assert found == {
        "a": "segment: channel 1 of a command that yields a single channel, 0",
        "b": "segment: channel must be less than 2, counted from 0, but is 2 instead",
        "c": "bad line: channel must be A, B or a number from 0 on, but is 'left' instead",
        "d": "segment: channel must be less than 1, counted from 0, but is 1 instead",
        "e": "bad line: must be utterance, recording, start, end and perhaps channel, but is not",
    }


def test_channels_may_be_separate_files(tmp_path: Path) -> None:
    """Recipes split calls like this; the channel in reco2file_and_channel is then not one of the file."""
    for name in ("sw-A", "sw-B", "sw-C"):
        write_flac(tmp_path / f"{name}.flac", 1.0)
    scp = "".join(f"{name} {name}.flac:" for name in ("sw-A", "sw-B", "sw-C"))
    channels = "sw-A sw A:sw-B sw B:sw-C sw C:"
    write_data(tmp_path, wav_scp=scp, text="sw-A a:sw-B a:sw-C a:", reco2file_and_channel=channels)
    assert prepared(tmp_path).skipped() == []


@pytest.mark.parametrize(
    "command",
    [
        "touch {ran} |",
        "sox in.wav -t wav - |",
        "cat a.wav | touch {ran} |",
        "cat $(touch {ran}) |",
        "flac -d a.flac > {ran} |",
        "cat |",
        "cat 'a |",
    ],
)
def test_commands_are_never_run(tmp_path: Path, command: str) -> None:
    for name in NAMES.values():
        WRITERS["kaldi"](tmp_path, name)
    ran = tmp_path / "ran"
    with open(tmp_path / "data" / "train" / "wav.scp", "a", encoding="utf-8") as file:
        file.write(f"u9 {command.format(ran=ran)}\n")
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert skipped.id == "u9"
    assert skipped.reason.startswith("command: not run")
    assert skipped.reason.endswith("wav.scp:4)")
    assert not ran.exists()


def test_disagreements_between_kaldis_files_are_problems(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["kaldi-segments"](tmp_path, name)
    data = tmp_path / "data" / "train"
    write_flac(tmp_path / "unused.flac")
    (data / "wav.scp").write_text((data / "wav.scp").read_text() + "unused unused.flac\n")
    more = "u3 lost 0 1\nu4 talk zero 1\nu5 talk 0.5 1.0\nu0 talk 0 0.5\n"
    (data / "segments").write_text((data / "segments").read_text() + more)
    (data / "text").write_text((data / "text").read_text() + "u6 said by nobody\n")
    task = prepared(tmp_path, max_skipped=0.9)
    kinds = {(s.id, s.reason.split(":")[0], s.reason.rpartition("/")[2]) for s in task.skipped()}
    assert kinds == {
        ("u0", "duplicate", "segments:7)"),
        ("u3", "text without audio", "segments:4)"),
        ("u4", "bad line", "segments:5)"),
        ("u5", "audio without text", "segments:6)"),
        ("u6", "text without audio", "text:4)"),
        ("unused", "audio without text", "wav.scp:2)"),
    }
