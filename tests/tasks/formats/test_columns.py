"""Columns of tables and of JSON objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lhotse.cut import Cut

from supernet.task import SPLITS, TaskError
from tasks.audio.cuts import load_samples
from tasks.manifest import Manifest
from tests.tasks.corpora import write_flac
from tests.tasks.folders import prepared, tone, write_wav
from tests.tasks.listings import NAMES, WRITERS, write_audio


def test_a_column_can_name_the_split(tmp_path: Path) -> None:
    files = write_audio(tmp_path)
    lines = [
        "path,text,split",
        *(f"{f.name},a,{s}" for f, s in zip(files, ("train", "dev", "test"), strict=True)),
    ]
    (tmp_path / "all.csv").write_text("\n".join([*lines, f"{files[0].name},a,trian"]))
    task = prepared(tmp_path, max_skipped=0.5)
    assert [[cut.id for cut in task.folder.cuts[split]] for split in SPLITS] == [["u0"], ["u1"], ["u2"]]
    (skipped,) = task.skipped()
    assert skipped.reason == (
        f"bad line: split must be train, valid or test, but is 'trian' instead ({tmp_path}/all.csv:5)"
    )


def test_offsets_cut_one_file_into_utterances(tmp_path: Path) -> None:
    write_flac(tmp_path / "long.flac", 6.0)
    lines = [
        json.dumps({"audio_filepath": "long.flac", "text": "a", "offset": i, "duration": 1}) for i in range(6)
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    task = prepared(tmp_path)
    cuts = [cut for split in SPLITS for cut in task.folder.cuts[split]]
    assert sorted((cut.start, cut.duration) for cut in cuts) == [(float(i), 1.0) for i in range(6)]
    assert len({cut.id for cut in cuts}) == 6


def test_after_an_unterminated_quote_the_next_lines_are_read(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
    listing = tmp_path / "train.csv"
    last = "\n".join(['audio/u9.wav,"a, ""b""",s0', f'audio/u8.wav,"{"a" * 200_000}",s0'])
    listing.write_text(listing.read_text() + 'audio/u0.wav,"a, b\nc",s0\n' + last)
    reasons = [skipped.reason.split(" (")[0] for skipped in prepared(tmp_path, max_skipped=1.0).skipped()]
    assert reasons == [
        "bad line: must be a row of a table, but is not: a quoted field is not terminated",
        "bad line: must have the 3 columns of the header, but has 2 instead",
        f"missing file: '{tmp_path}/audio/u9.wav' does not exist",
        "bad line: must be a row of a table, but is not: field larger than field limit",
    ]


def test_an_unterminated_quote_affects_only_its_line(tmp_path: Path) -> None:
    write_wav(tmp_path / "talk.wav", tone(101.0))
    quoted = {3: '"a, b"', 4: '"a ""b"" c"', 20: '"a', 30: 'a "b" c', 40: 'a"', 50: '"a" b'}
    lines = (f"talk.wav,{i / 2},{(i + 1) / 2},{quoted.get(i, 'a')}" for i in range(200))
    (tmp_path / "all.csv").write_text("\n".join(["path,start,end,text", *lines]) + "\n")
    task = prepared(tmp_path)
    assert [s.reason.rpartition(":")[2] for s in task.skipped()] == ["22)", "52)"]
    said = {round(cut.start * 2): cut.supervisions[0].text for cut in cuts_of(task)}
    assert len(said) == 198
    assert [said[i] for i in (3, 4, 30, 40, 199)] == ["a, b", 'a "b" c', 'a "b" c', 'a"', "a"]


def cuts_of(task: Manifest) -> list[Cut]:
    return [cut for split in SPLITS for cut in task.folder.cuts[split]]


@pytest.mark.parametrize(
    "columns", ["start,end", "offset,duration", "start_time,end_time", "start,stop", "begin,stop_time"]
)
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "json"])
def test_a_row_spans_the_audio_from_its_start_to_its_end(tmp_path: Path, format: str, columns: str) -> None:
    write_wav(tmp_path / "talk.wav", tone(6.0))
    first, last = columns.split(",")
    spans = [(0.5, 1.5), (1.5, 3.0), (3.0, 5.0), (5.0, 6.0)]
    rows = [
        {"path": "talk.wav", first: start, last: end - start if last == "duration" else end, "text": "a"}
        for start, end in spans
    ]
    write_rows(tmp_path / f"all.{format}", rows)
    found = sorted((cut.start, cut.end) for cut in cuts_of(prepared(tmp_path)))
    assert found == spans


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        between = "," if path.suffix == ".csv" else "\t"
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        path.write_text("".join(between.join(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("span", "kind"),
    [
        ({"start": 1.0}, "bad line"),
        ({"start": 0}, "bad line"),
        ({"start": 2.0, "end": 1.0}, "segment"),
        ({"start": 2.0, "end": 2.0}, "segment"),
        ({"start": -1.0, "end": 1.0}, "segment"),
        ({"start": 1.0, "end": 9.0}, "segment"),
        ({"start": 7.0, "end": 9.0}, "segment"),
        ({"start": 1.0, "duration": 0}, "segment"),
        ({"start": 1.0, "duration": 9.0}, "segment"),
        ({"start": 1.0, "end": 2.0, "duration": 6.0}, "segment"),
        ({"end": -1}, "segment"),
        ({"start": 1.0, "end": "soon"}, "bad line"),
        ({"start": 1.0, "end": "inf"}, "bad line"),
        ({"start": 1e308, "end": 1.1e308}, "bad line"),
    ],
)
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_invalid_spans_are_problems(tmp_path: Path, format: str, span: dict[str, Any], kind: str) -> None:
    write_wav(tmp_path / "talk.wav", tone(6.0))
    spans: list[dict[str, Any]] = [{"start": i, "end": i + 1} for i in range(6)]
    write_rows(
        tmp_path / f"all.{format}", [{"path": "talk.wav", "text": "a", **one} for one in (*spans, span)]
    )
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert skipped.reason.split(":")[0] == kind
    assert skipped.reason.endswith(f"all.{format}:{8 if format == 'csv' else 7})")


@pytest.mark.parametrize(
    "columns",
    [
        *("start_ms,end_ms", "start_sec,end_sec", "segment_start,segment_end", "begin_sample,end_sample"),
        *("from,to", "t_start,t_end", "xmin,xmax", "tmin,tmax", "startTime,endTime", "audio_start,audio_end"),
        *("begin_offset,length", "start_at,end_at", "utt_start,utt_stop", "from_s,until_s"),
    ],
)
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_spans_with_unknown_column_names_are_not_ignored(tmp_path: Path, format: str, columns: str) -> None:
    write_audio(tmp_path)
    good: list[dict[str, Any]] = [
        {"path": f"u{i}.wav", "text": "a", "end_of_turn": True, "from": "tape 3", "minor": 1}
        for i in range(3)
    ]
    bad = {"path": "u0.wav", "text": "a", **dict.fromkeys(columns.split(","), 100)}
    write_rows(tmp_path / f"all.{format}", [*good, bad])
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    name = columns.partition(",")[0]
    assert skipped.reason.lower().startswith(f"bad line: {name.lower()!r} must be named start or end")


def test_a_column_can_name_the_channel(tmp_path: Path) -> None:
    voices = [tone(1.0, 300), tone(1.0, 700)]
    write_wav(tmp_path / "call.wav", np.stack(voices, axis=1))
    channels = dict(zip("abcde", ("0", "B", "", "2", "left"), strict=True)) | dict.fromkeys("fghij", "A")
    lines = (f"{id},call.wav,{channel},a" for id, channel in channels.items())
    (tmp_path / "all.csv").write_text("\n".join(["id,path,channel,text", *lines]) + "\n")
    task = prepared(tmp_path, max_skipped=0.5)
    heard = {cut.id: load_samples(cut).numpy() for cut in cuts_of(task)}
    expected: dict[str, Any] = {"a": voices[0], "b": voices[1], "c": (voices[0] + voices[1]) / 2}
    assert set(heard) == set(expected) | set("fghij")
    for id, samples in expected.items():
        assert np.allclose(heard[id], samples, atol=1e-4)
    assert {s.id: s.reason.split(":")[0] for s in task.skipped()} == {"e": "bad line", "d": "segment"}


@pytest.mark.parametrize("listing", ["wrapped", "espnet", "lines"])
@pytest.mark.parametrize("text", [float("nan"), ["one", "two"], True, {"a": 1}, 5, 1.5, ""])
def test_a_text_must_be_a_string(tmp_path: Path, text: object, listing: str) -> None:
    write_audio(tmp_path)
    said = [*["nan"] * 8, text]
    rows = [{"path": f"u{i % 3}.wav", "id": f"u{i}", "text": one} for i, one in enumerate(said)]
    if listing == "espnet":
        utts = {
            row["id"]: {"input": [{"feat": row["path"]}], "output": [{"text": row["text"]}]} for row in rows
        }
        (tmp_path / "all.json").write_text(json.dumps({"utts": utts}))
    else:
        write_rows(tmp_path / f"all.json{'l' if listing == 'lines' else ''}", rows)
    task = prepared(tmp_path, max_skipped=0.5)
    (skipped,) = task.skipped()
    assert skipped.id == "u8"
    assert skipped.reason.startswith(
        "audio without text" if text == "" else "bad line: text must be a string"
    )
    assert sorted(cut.supervisions[0].text for cut in cuts_of(task)) == ["nan"] * 8


def test_other_values_must_have_their_types(tmp_path: Path) -> None:
    write_audio(tmp_path)
    good = [{"path": f"u{i}.wav", "text": "a", "speaker": 7, "duration": 1} for i in range(3)]
    bad: list[dict[str, Any]] = [
        {"path": ["u0.wav"]},
        {"speaker": True},
        {"id": {}},
        {"duration": True},
        {"speaker": float("nan")},
    ]
    rows = [*good, *({"path": "u0.wav", "text": "a"} | one for one in bad)]
    write_rows(tmp_path / "all.jsonl", rows)
    task = prepared(tmp_path, max_skipped=0.9)
    assert [s.reason.split(":")[0] for s in task.skipped()] == ["bad line"] * 5
    assert {cut.supervisions[0].speaker for cut in cuts_of(task)} == {"7"}


def test_simultaneous_speakers_are_separate_utterances(tmp_path: Path) -> None:
    """Speakers may start at the same time, although names are derived from the start."""
    write_wav(tmp_path / "talk.wav", tone(6.0))
    columns = ("start", "end", "speaker", "text")
    rows = [
        (0, 1, "x", "a b"),
        (0, 1, "y", "b a"),
        (0, 1, "x", "b a"),
        (0, 2, "x", "a b"),
        (0, 1, "y", "b a"),
    ]
    listed = [{"path": "talk.wav", **dict(zip(columns, row, strict=True))} for row in rows]
    for name in NAMES.values():
        write_rows(tmp_path / f"{name}.csv", listed)
    task = prepared(tmp_path, max_skipped=0.5)
    for split, name in NAMES.items():
        cuts = list(task.folder.cuts[split])
        assert [cut.id.removeprefix("talk") for cut in cuts] == ["", "-2", "-3", "-4"]
        said = [(cut.supervisions[0].speaker, cut.supervisions[0].text) for cut in cuts]
        assert said == [("x", "a b"), ("y", "b a"), ("x", "b a"), ("x", "a b")]
        (reason,) = (s.reason for s in task.skipped() if s.split == split)
        assert reason.startswith("duplicate: ")
        assert reason.endswith(f"{name}.csv:6)")


@pytest.mark.parametrize("text", ["", "audio/u0.wav,a bc\n", "path;text\n"])
def test_a_table_without_a_header_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "all.csv").write_text(text)
    with pytest.raises(TaskError, match=r"all\.csv` must begin with a header that names path and text"):
        prepared(tmp_path)


@pytest.mark.parametrize("audio", ["wav_filename", "file_name", "audio_path", "Audio_File", "filepath"])
def test_audio_columns_may_have_other_usual_names(tmp_path: Path, audio: str) -> None:
    files = write_audio(tmp_path)
    lines = [f"{file.name},{file.stat().st_size},a" for file in files]
    (tmp_path / "all.csv").write_text("\n".join([f"{audio},wav_filesize,transcript", *lines]))
    assert len(cuts_of(prepared(tmp_path))) == 3


@pytest.mark.parametrize("twice", ["text", "path"])
def test_a_duplicate_column_is_an_error(tmp_path: Path, twice: str) -> None:
    write_audio(tmp_path)
    (tmp_path / "all.csv").write_text(f"path,text,{twice}\n" + "".join(f"u{i}.wav,a,b\n" for i in range(3)))
    with pytest.raises(TaskError, match=rf"must name each column once, but names \[{twice}\] more than once"):
        prepared(tmp_path)


@pytest.mark.parametrize("id", ["a\tb", "a\nb", "\x00", "\x1b[2J", "a\x85b"])
def test_names_must_have_no_control_characters(tmp_path: Path, id: str) -> None:
    write_audio(tmp_path)
    splits = ("train", "train", "dev", "test")
    rows = [
        {"path": "u0.wav", "id": name, "text": "a", "split": split}
        for name, split in zip([id, *"bcd"], splits, strict=True)
    ]
    write_rows(tmp_path / "all.jsonl", rows)
    task = prepared(tmp_path, max_skipped=0.5)
    assert {cut.id for cut in cuts_of(task)} == set("bcd")
    (skipped,) = task.skipped()
    assert skipped.reason.startswith("bad line: its name must have no control characters")


def test_an_object_that_is_not_a_row_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps({"data": [{"path": "u0.wav", "text": "a"}]}))
    with pytest.raises(TaskError, match=r"all\.json:1: must be a JSON object with audio_filepath and text"):
        prepared(tmp_path)
