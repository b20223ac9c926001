"""Kaldi's data folders: files need not agree, and no command in them is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.forms import kaldi
from tests.tasks.corpora import write_flac
from tests.tasks.folders import prepared
from tests.tasks.listings import FORMS, NAMES


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ("/data/a.wav", "/data/a.wav"),
        ("flac -c -d -s /data/a.flac |", "/data/a.flac"),
        ("/opt/kaldi/sph2pipe -f wav -p -c 1 /data/a.sph|", "/data/a.sph"),
        ("cat '/data/a b.wav' |", "/data/a b.wav"),
    ],
)
def test_commands_that_only_decode_name_a_file(entry: str, file: str) -> None:
    assert kaldi._file(entry) == file


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
def test_no_command_is_run(tmp_path: Path, command: str) -> None:
    for name in NAMES.values():
        FORMS["kaldi"](tmp_path, name)
    ran = tmp_path / "ran"
    with open(tmp_path / "data" / "train" / "wav.scp", "a", encoding="utf-8") as file:
        file.write(f"u9 {command.format(ran=ran)}\n")
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert skipped.id == "u9"
    assert skipped.reason.startswith("command: not run")
    assert skipped.reason.endswith("wav.scp:4)")
    assert not ran.exists()


def test_kaldis_files_need_not_agree(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["kaldi-segments"](tmp_path, name)
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
