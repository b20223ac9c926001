"""Detection of truncated files in every format that libsndfile reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tasks.audio.headers import read_header
from tasks.files.members import Member, members
from tasks.files.problems import Unusable
from tests.tasks.listings import pack
from tests.tasks.shards import wave

FORMATS: dict[str, dict[str, Any]] = {
    "wav": {"format": "WAV"},
    "float": {"format": "WAV", "subtype": "FLOAT"},
    "ulaw": {"format": "WAV", "subtype": "ULAW"},
    "adpcm": {"format": "WAV", "subtype": "IMA_ADPCM"},
    "wavex": {"format": "WAVEX"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
    "voc": {"format": "VOC", "subtype": "PCM_16"},
    "svx": {"format": "SVX", "subtype": "PCM_16"},
    "sph": {"format": "NIST", "subtype": "PCM_16"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}
SAMPLES = wave(0, seconds=2.0)[:, 0]


def encoded(kind: str, samples: np.ndarray[Any, Any] = SAMPLES) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, **FORMATS[kind])
    return file.getvalue()


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_complete_file_is_as_long_as_its_header_says(tmp_path: Path, kind: str, decode: bool) -> None:
    (tmp_path / "a").write_bytes(encoded(kind))
    header = read_header(tmp_path / "a", None, decode)
    assert header.frames == pytest.approx(32_000, abs=600)
    assert header.samplerate == 16_000


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_an_error(tmp_path: Path, kind: str, share: float, decode: bool) -> None:
    content = encoded(kind)
    (tmp_path / "a").write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        Unusable, match=rf"^'{tmp_path}/a' (is truncated after|must be audio that lib)"
    ) as error:
        read_header(tmp_path / "a", None, decode)
    assert error.value.kind == "unreadable"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_member_is_an_error(tmp_path: Path, kind: str) -> None:
    content = encoded(kind)
    tar = pack(tmp_path / "a.tar", {"whole": content, "cut": content[: int(0.6 * len(content))]})
    with open(tar, "rb") as file:
        whole, cut = members(file)
    assert isinstance(whole, Member)
    assert isinstance(cut, Member)
    assert read_header(tar, whole, False).frames == pytest.approx(32_000, abs=600)
    with pytest.raises(Unusable, match=rf"'{tar}:cut'"):
        read_header(tar, cut, False)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_an_ogg_file_truncated_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    content = encoded(kind)
    last = content.rfind(b"OggS")
    for size in (*range(len(content) // 2, len(content), 997), *range(last + 1, last + 40), len(content) - 1):
        # A file of whole pages cannot be distinguished from a stream that was stopped.
        if content[size : size + 4] != b"OggS":
            (tmp_path / "a").write_bytes(content[:size])
            with pytest.raises(Unusable):
                read_header(tmp_path / "a", None, False)


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_FFDB])
def test_a_placeholder_for_the_length_is_ignored(tmp_path: Path, length: int) -> None:
    """Such as ffmpeg and sox write to a pipe."""
    content = bytearray(encoded("wav"))
    content[4:8] = min(length + 36, 0xFFFF_FFFF).to_bytes(4, "little")
    content[40:44] = length.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert read_header(tmp_path / "a.wav", None, True).frames == 32_000


@pytest.mark.parametrize("more", [b"TAG" + bytes(125), b"LIST" + (500).to_bytes(4, "little") + bytes(20)])
def test_chunks_after_the_audio_may_be_truncated(tmp_path: Path, more: bytes) -> None:
    content = bytearray(encoded("wav"))
    content[4:8] = (len(content) - 8 + 508).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(bytes(content) + more)
    assert read_header(tmp_path / "a.wav", None, False).frames == 32_000
