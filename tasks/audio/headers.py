"""Headers of audio files, and the detection of truncated files.

libsndfile takes a truncated file for a shorter one; its text would then cover more than its audio.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from supernet.audio.recordings import system_name
from tasks.files.members import Member, MemberFile
from tasks.files.problems import Unusable

_SLACK = 64
"""Number of bytes that may be missing: some programs count their header, or a padding byte."""

_STREAMED = 0x7FFF_0000
"""Lengths from here on are placeholders: programs that write to a pipe do not know the length yet."""

_LENGTHS = re.compile(r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.M)
"""Declared and actual length in libsndfile's log of a WAV, AIFF, SVX, AU or W64 file."""

_FRAMES = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
"""Actual and declared length in its log of an RF64 file."""

_VOC = re.compile(r"^Seems to be a truncated file\.$", re.M)

_UNKNOWN = 2**40
"""Numbers of samples from here on are placeholders."""

_LAST = 10 * 1152
"""Samples in the last frames of an MP3."""

_PAGE, _LONGEST_PAGE = b"OggS", 27 + 255 + 255 * 255


def read_header(path: Path, member: Member | None, decode: bool) -> Any:
    """Read the header of an audio file.

    Args:
        path: The file, or a tar.
        member: The member of the tar that is the file.
        decode: Whether to decode the file, which finds truncation that does not show otherwise.

    Returns:
        soundfile's description, with ``frames``, ``samplerate`` and ``channels``.

    Raises:
        Unusable: If the file cannot be read or is truncated.
    """
    name = f"{path}:{member.name}" if member else str(path)
    size = member.size if member else path.stat().st_size
    try:
        with ExitStack() as stack:
            file: BinaryIO = stack.enter_context(open(path, "rb"))
            if member is not None:
                file = stack.enter_context(BufferedReader(MemberFile(file, member)))
            audio: Any = file if member else system_name(path)
            header = soundfile.info(audio)
            is_truncated = _is_truncated(header, file, size)
            file.seek(0)
            if is_truncated or header.frames != _num_found(audio, header, decode):
                what = f"is truncated after at most {header.duration:.2f} s of audio"
                raise Unusable("unreadable", f"'{name}' {what}")
    except (soundfile.LibsndfileError, OSError) as error:
        # The library's own message names what it was given, which for a member is one of our objects.
        why = getattr(error, "error_string", "") or error
        raise Unusable("unreadable", f"'{name}' must be audio that libsndfile reads: {why}") from error
    return header


def _is_truncated(header: Any, file: BinaryIO, size: int) -> bool:
    """Whether the end of the file is missing, as far as that shows without decoding."""
    log = header.extra_info
    if header.format == "OGG":
        return _ends_within_a_page(file, size)
    if header.format == "NIST":
        return size + _SLACK < _size_of_nist(file)
    if any(int(there) + _SLACK < int(said) < _STREAMED for said, there in _LENGTHS.findall(log)):
        return True
    return any(int(there) < int(said) for there, said in _FRAMES.findall(log)) or bool(_VOC.search(log))


def _num_found(audio: Any, header: Any, decode: bool) -> int:
    """Count the samples per channel that can be read; without ``decode``, only the last ones are tried."""
    with soundfile.SoundFile(audio) as file:
        if header.format in ("FLAC", "MP3") and 0 < header.frames < _UNKNOWN and not _has_last(file):
            return 0
        if not decode:
            return int(header.frames)
        file.seek(0)
        return sum(len(block) for block in file.blocks(2**16, dtype="float32"))


def _has_last(file: Any) -> bool:
    """Whether the last samples can be read; decoding from the start may conceal missing ones."""
    # MP3 frames refer to earlier ones: the decoder complains unless it has read those.
    count = min(file.frames, _LAST if file.format == "MP3" else 1)
    try:
        file.seek(file.frames - count)
        return bool(len(file.read(count)) == count)
    except soundfile.LibsndfileError:
        return False


def _ends_within_a_page(file: BinaryIO, size: int) -> bool:
    """Whether the last page (RFC 3533) of an Ogg file is incomplete."""
    start = max(0, size - _LONGEST_PAGE - len(_PAGE))
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_PAGE + b"\0")
    if at < 0:
        return True
    num_segments = tail[at + 26] if len(tail) > at + 26 else 255
    segments = tail[at + 27 : at + 27 + num_segments]
    end = at + 27 + num_segments + sum(segments)
    # The page may be followed by a tag of another kind, but not by the beginning of a page.
    return (
        len(segments) < num_segments or end > len(tail) or tail[end : end + 4] in (b"O", b"Og", b"Ogg", _PAGE)
    )


def _size_of_nist(file: BinaryIO) -> int:
    """The size in bytes that the header of a NIST file declares; 0 if it does not."""
    file.seek(0)
    head = file.read(1024)
    numbers = dict(re.findall(rb"^(\w+) -i (\d+)", head, re.M))
    begin = re.match(rb"NIST_1A\s+(\d+)", head)
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if begin is None or not all(name in numbers for name in names):
        return 0
    count, channels, width = (int(numbers[name]) for name in names)
    return int(begin[1]) + count * channels * width
