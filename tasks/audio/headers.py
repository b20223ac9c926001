"""The header of a file of audio, and whether the file is as long as it promises.

libsndfile takes a file that breaks off for a shorter one; its text would be that of more than is heard.
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
"""Bytes that may be missing: some programs count their header, or a byte that only fills up."""

_STREAMED = 0x7FFF_0000
"""Bytes from which on a length is none: programs that write into a pipe do not know it yet."""

_LENGTHS = re.compile(r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.M)
"""Two lengths in libsndfile's log of a WAV, AIFF, SVX, AU or W64 file: what it says, and what is there."""

_FRAMES = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
"""The same of RF64."""

_VOC = re.compile(r"^Seems to be a truncated file\.$", re.M)

_UNKNOWN = 2**40
"""Samples from which on their number is none."""

_LAST = 10 * 1152
"""Samples: the last frames of an MP3."""

_PAGE, _LONGEST_PAGE = b"OggS", 27 + 255 + 255 * 255


def read_header(path: Path, member: Member | None, decode: bool) -> Any:
    """What soundfile says of ``path``, or of its ``member``: ``frames``, ``samplerate``, ``channels``.

    Raises ``Unusable`` where the file breaks off, also in what only decoding tells if ``decode``.
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
            is_cut = _is_cut(header, file, size)
            file.seek(0)
            if is_cut or header.frames != _num_found(audio, header, decode):
                what = f"breaks off after {header.duration:.2f} s or less"
                raise Unusable("unreadable", f"'{name}' {what}: the file ends before its audio does")
    except (soundfile.LibsndfileError, OSError) as error:
        # The library's own words name what it was given, which for a member is an object of ours.
        why = getattr(error, "error_string", "") or error
        raise Unusable("unreadable", f"'{name}' must be audio that libsndfile reads: {why}") from error
    return header


def _is_cut(header: Any, file: BinaryIO, size: int) -> bool:
    """Whether the end is missing, as far as that shows without decoding."""
    log = header.extra_info
    if header.format == "OGG":
        return _ends_within_a_page(file, size)
    if header.format == "NIST":
        return size + _SLACK < _size_of_nist(file)
    if any(int(there) + _SLACK < int(said) < _STREAMED for said, there in _LENGTHS.findall(log)):
        return True
    return any(int(there) < int(said) for there, said in _FRAMES.findall(log)) or bool(_VOC.search(log))


def _num_found(audio: Any, header: Any, decode: bool) -> int:
    """Samples of a channel that are there; without ``decode`` the last one stands for those before it."""
    with soundfile.SoundFile(audio) as file:
        if header.format in ("FLAC", "MP3") and 0 < header.frames < _UNKNOWN and not _has_last(file):
            return 0
        if not decode:
            return int(header.frames)
        file.seek(0)
        return sum(len(block) for block in file.blocks(2**16, dtype="float32"))


def _has_last(file: Any) -> bool:
    """Whether the last samples can be read; decoding alone may make up what is missing."""
    # Frames of MP3 refer to some before them: the decoder complains where it has not seen these.
    count = min(file.frames, _LAST if file.format == "MP3" else 1)
    try:
        file.seek(file.frames - count)
        return bool(len(file.read(count)) == count)
    except soundfile.LibsndfileError:
        return False


def _ends_within_a_page(file: BinaryIO, size: int) -> bool:
    """Whether an Ogg file's last page (RFC 3533) is not whole."""
    start = max(0, size - _LONGEST_PAGE - len(_PAGE))
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(_PAGE + b"\0")
    if at < 0:
        return True
    num_segments = tail[at + 26] if len(tail) > at + 26 else 255
    segments = tail[at + 27 : at + 27 + num_segments]
    end = at + 27 + num_segments + sum(segments)
    # What follows the page may be a tag of another kind, but no beginning of a page.
    return (
        len(segments) < num_segments or end > len(tail) or tail[end : end + 4] in (b"O", b"Og", b"Ogg", _PAGE)
    )


def _size_of_nist(file: BinaryIO) -> int:
    """Bytes that a NIST file has by its header, as far as that says."""
    file.seek(0)
    head = file.read(1024)
    numbers = dict(re.findall(rb"^(\w+) -i (\d+)", head, re.M))
    begin = re.match(rb"NIST_1A\s+(\d+)", head)
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if begin is None or not all(name in numbers for name in names):
        return 0
    count, channels, width = (int(numbers[name]) for name in names)
    return int(begin[1]) + count * channels * width
