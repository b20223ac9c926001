"""Damaged and untrusted listings: one line per problem, never a traceback."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supernet.errors import UserError
from tasks.store.manifest_folder import manifest_path
from tests.tasks.folders import prepared, write_folder
from tests.tasks.listings import NAMES, WRITERS

Damage = Callable[[bytes], bytes]

ODD = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b'"',
    b"\\ud800",
    b"NaN",
    b"-1e999",
    b"9" * 5000,
    b"null",
    b"[]",
    b"{}",
    b"true",
    b"\r",
    b"\t",
    b"|",
    b"\x1b[31m",
    b"../../x",
    b"x" * 5000,
    b"[" * 5000,
)
"""Bytes with a special meaning to one of the readers."""


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """A function that replaces a stretch of a file, anywhere in it, by other bytes."""
    first, length = draw(st.floats(0, 1)), draw(st.integers(0, 40))
    instead = draw(st.sampled_from(ODD) | st.binary(max_size=20))

    def damage(content: bytes) -> bytes:
        start = int(first * len(content))
        return content[:start] + instead + content[start + length :]

    return damage


@pytest.mark.parametrize("format", WRITERS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages(), st.data())
def test_a_damaged_listing_gives_problems_or_a_one_line_error(
    tmp_path_factory: pytest.TempPathFactory, format: str, damage: Damage, data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())) / "corpus"
    folder.mkdir()
    for name in NAMES.values():
        WRITERS[format](folder, name)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".wav")
    file = data.draw(st.sampled_from(files))
    file.write_bytes(damage(file.read_bytes()))
    said = outcome(folder)
    shutil.rmtree(folder.parent)
    assert all(len(line.splitlines()) <= len(NAMES) and len(line) < 5000 for line in said)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages(), st.booleans())
def test_a_damaged_manifest_gives_problems_or_a_one_line_error(
    tmp_path_factory: pytest.TempPathFactory, damage: Damage, is_packed: bool
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp())) / "corpus"
    write_folder(folder, 3, 1, 1)
    (folder / "problems.tsv").write_text("split\tid\tkind\twhere\twhat\taudio\ntrain\tu\tsegment\tl:1\tx\t\n")
    manifest, problems = manifest_path(folder, "train"), folder / "problems.tsv"
    problems.write_bytes(damage(problems.read_bytes()))
    content = manifest.read_bytes()
    broken = damage(content) if is_packed else gzip.compress(damage(gzip.decompress(content)))
    manifest.write_bytes(broken)
    said = outcome(folder)
    shutil.rmtree(folder.parent)
    assert all(len(line.splitlines()) <= len(NAMES) and len(line) < 5000 for line in said)


@pytest.mark.parametrize("instead", [b"[" * 100_000, b"9" * 5000, b'{"a":' * 100_000])
@pytest.mark.parametrize("format", ["nemo", "espnet", "json-list"])
def test_json_beyond_the_limits_of_parsers_is_a_problem(tmp_path: Path, format: str, instead: bytes) -> None:
    for name in NAMES.values():
        WRITERS[format](tmp_path, name)
    for file in tmp_path.glob("*.json"):
        file.write_bytes(instead + b"\n" + file.read_bytes())
    said = outcome(tmp_path)
    assert said
    assert all(len(line) < 5000 for line in said)


def outcome(folder: Path) -> list[str]:
    """Reasons why utterances are left out, or why the corpus cannot be used."""
    try:
        return [skipped.reason for skipped in prepared(folder, max_skipped=0.9).skipped()]
    except UserError as error:
        return [str(error)]
