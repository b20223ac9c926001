"""Text from files is printed as text: it cannot move the cursor, hide words, or act as markup."""

from __future__ import annotations

import io
import json
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from safetensors.torch import load_file, save_file

from supernet import transcribe
from supernet.console.progress import progress
from supernet.console.screen import Screen
from supernet.console.text import complain, encodable, json_encodable, put
from supernet.runs.run import Run
from supernet.text.plain import plain
from tests.tasks.folders import tone

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ODD = st.text(st.characters() | st.sampled_from("\x1b\x9b\x7f\n\t\udcff" + BIDI))
HOSTILE = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "a\rb",
    "\x9b31m",
    "\u202egnp.exe",
    "[red]x[/red]",
    "[/x]",
    "[link=http://a]b[/link]",
    ":smile:",
]


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in BIDI for c in text)


@given(ODD)
def test_no_control_characters_remain(text: str) -> None:
    assert is_harmless(plain(text))
    assert is_harmless(plain(text, lines=True).replace("\n", ""))
    assert plain(plain(text)) == plain(text)


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"))))
def test_readable_text_is_unchanged(text: str) -> None:
    assert plain(text) == text


def test_escapes_are_visible() -> None:
    assert plain("a\x1b[31m\n\x9b\u202e\udcff") == r"a\x1b[31m\n\x9b\u202e\udcff"
    assert plain("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize("text", HOSTILE)
def test_the_console_prints_text_literally_everywhere(text: str) -> None:
    file = io.StringIO()
    screen = Screen(file=file, width=200, force_terminal=False)
    table = Table(text, "next", title=text, caption=text)
    table.add_row(text, text)
    screen.print(table)
    screen.print(text)
    screen.print(text, "and", text)
    assert file.getvalue().count(plain(text)) == 8
    assert is_harmless(file.getvalue().replace("\n", ""))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_text_is_adapted_to_the_encoding_of_a_stream(encoding: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    table = Table("Größe", title="中 – \udcff")
    table.add_row("1.0–1.8 ё ✓")
    screen = Screen(file=file, width=80)
    screen.print(table)
    screen.print("中")
    put("中 é\n", file)
    file.flush()
    printed = file.buffer.getvalue().decode(encoding)
    assert r"\udcff" in printed
    lines = [line for line in printed.splitlines() if line.startswith(("┃", "│", "|"))]
    assert len({len(line) for line in lines}) == 1, "columns must stay aligned"
    if encoding == "ascii":
        assert r"Gr\xf6\xdfe" in printed
        assert r"1.0-1.8 \u0451 \u2713" in printed
        assert printed.endswith("\\u4e2d\n\\u4e2d \\xe9\n")
    if encoding == "utf-8":
        assert "中 – " in printed
        assert printed.endswith("中\n中 é\n")


@given(st.text(), st.sampled_from(["ascii", "latin-1", "koi8-r", "utf-8"]))
def test_characters_outside_an_encoding_are_escaped(text: str, encoding: str) -> None:
    shown = encodable(plain(text), encoding)
    assert shown.encode(encoding).decode(encoding) == shown


@given(
    st.text(st.characters() | st.sampled_from("\x1b\x9b\x7f\udcff" + BIDI)),
    st.sampled_from(["ascii", "utf-8"]),
)
def test_escaped_json_stays_valid(text: str, encoding: str) -> None:
    line = json_encodable(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding)
    assert json.loads(line) == {"text": text}
    assert is_harmless(line[:-1])
    line.encode(encoding)


def test_each_line_of_a_message_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    complain("one\ntwo\x85three \x1b[8m")
    assert capsys.readouterr().err == "error: one\nerror: two\\x85three \\x1b[8m\n"


def test_names_of_work_are_printed_literally() -> None:
    file = io.StringIO()
    screen = Screen(file=file, force_terminal=True, width=120)
    with progress(screen) as report:
        report("reading [/x] \x1b]0;t\x07", 1, 2)
    assert r"reading [/x] \x1b]0;t\x07" in file.getvalue()


def test_long_sentences_wrap_between_words_and_paths_do_not_wrap() -> None:
    file = io.StringIO()
    path = "/a/very/long/path/" * 6
    Screen(file=file, width=40, force_terminal=True, color_system=None).print(
        f"The page of it all is {path} here."
    )
    assert path in file.getvalue()
    assert max(len(line) for line in file.getvalue().splitlines() if path not in line) <= 40


def speech(folder: Path) -> Path:
    soundfile.write(folder / "Größe.wav", tone(1.0), 16_000)
    return folder / "Größe.wav"


@pytest.fixture
def hostile(finished: tuple[Run, str], tmp_path: Path) -> Path:
    """A run whose tokens contain escape sequences, and which recognizes one of them everywhere."""
    folder = tmp_path / "run [red]"
    shutil.copytree(finished[0].folder, folder)
    file = folder / "model.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    blank, *symbols = data["tokens"]["symbols"]
    data["tokens"]["symbols"] = [blank, *(f"{s}\x1b[2J\n\x9b\u202e" for s in symbols)]
    file.write_text(json.dumps(data), encoding="utf-8")
    weights = load_file(folder / "model.safetensors")
    weights["heads.shared.bias"][2] = 1000.0
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("form", ["text", "jsonl", "srt", "vtt"])
def test_escape_sequences_in_tokens_do_not_reach_the_terminal(
    hostile: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = speech(tmp_path)
    transcribe.main([str(hostile), str(recording), "--size", "4", "--format", form])
    out = capsys.readouterr().out
    assert is_harmless(out.replace("\n", "").replace("\t", ""))
    assert "[2J" in out
    if form == "text":
        assert out.count("\n") == 1
    if form == "jsonl":
        assert "\x1b[2J\n\x9b" in json.loads(out)["text"]


def test_standard_output_may_be_ascii(
    finished: tuple[Run, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = speech(tmp_path)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    transcribe.main([str(finished[0].folder), str(recording)])
    transcribe.main([str(finished[0].folder), str(recording), "--format", "jsonl"])
    text, line = out.buffer.getvalue().decode("ascii").splitlines()
    assert r"Gr\xf6\xdfe.wav" in text
    assert json.loads(line)["file"] == str(recording)
