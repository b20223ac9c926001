"""Commands that stand for a file in a listing, such as ``sph2pipe -f wav -p -c 1 FILE |``.

None is ever run. Those of ``flac``, ``sph2pipe`` and ``cat`` that only decode one file are read as that file,
or as the channel that they choose; every option is known to change nothing of what is heard, or the command
is not read.
"""

from __future__ import annotations

import getopt
import shlex
from collections.abc import Callable
from pathlib import Path

from tasks.files.problems import Unusable, short

_NOT_ALONE = set("|;&<>$`()*?[]{}\n")
"""Signs of a shell that make a command more than one program with its arguments."""

_OF_FLAC = ["decode", "stdout", "silent", "totally-silent", "force", "decode-through-errors"]
_CONTAINERS = ("wav", "rif", "sph", "raw", "aif", "au")


def file_of(name: str) -> tuple[str, int | None]:
    """The file that ``name`` in a listing reads, and its channel, from 0 on, where the command chooses one.

    Raises ``Unusable`` where it is a command that would have to be run.
    """
    if not name.endswith("|"):
        return name, None
    command = name.removesuffix("|").strip()
    try:
        program, *words = shlex.split(command)
        read = None if _NOT_ALONE & set(command) else _READERS.get(Path(program).name)
        if read is not None:
            return read(words)
    except (ValueError, getopt.GetoptError):
        pass  # not one of those that are known to change nothing
    what = f"not run, as a listing may be a stranger's: {short(command, 200)}. Run it, and name the file"
    raise Unusable("command", what)


def channel_of(name: str, first: int) -> int:
    """A channel from 0 on, which listings call A, B and so on or count from ``first``."""
    if len(name) == 1 and "A" <= name.upper() <= "H":
        return ord(name.upper()) - ord("A")
    if name.isascii() and name.isdigit() and int(name[:9]) >= first:
        return int(name[:9]) - first
    what = f"channel must be A, B or a number from {first} on, but is {short(name)!r} instead"
    raise Unusable("bad line", what)


def one_channel(wanted: int | None, own: int | None) -> int | None:
    """The channel ``wanted`` of what is the channel ``own`` alone already, if it is one."""
    if own is None or wanted is None:
        return wanted if own is None else own
    if wanted > 0:
        raise Unusable("segment", f"channel {wanted} of a command that gives one channel, which is 0")
    return own


def _sph2pipe(words: list[str]) -> tuple[str, int | None]:
    """Of its options, ``-p`` and ``-f`` are about the file that is written, ``-c`` chooses a channel;
    ``-t`` and ``-s`` cut, ``-u`` and ``-a`` make 8 bits of each sample, ``-h`` brings another header.
    """
    options, (file,) = getopt.gnu_getopt(words, "pc:f:")
    channel = None
    for option, value in options:
        if option == "-f" and value not in _CONTAINERS:
            raise ValueError(value)
        if option == "-c":
            if value not in ("1", "2") or channel is not None:
                raise ValueError(value)
            channel = int(value) - 1
    return _plain(file), channel


def _flac(words: list[str]) -> tuple[str, int | None]:
    """Decoding to standard output, silently or not; ``--skip``, ``--until`` and ``--cue`` cut."""
    options, (file,) = getopt.gnu_getopt(words, "dcsfF", _OF_FLAC)
    given = {option for option, _ in options}
    if not (given & {"-d", "--decode"} and given & {"-c", "--stdout"}):
        raise ValueError("what it writes is not the samples")
    return _plain(file), None


def _cat(words: list[str]) -> tuple[str, int | None]:
    _, (file,) = getopt.gnu_getopt(words, "u")
    return _plain(file), None


def _plain(file: str) -> str:
    if file in ("", "-"):
        raise ValueError("no file")
    return file


_READERS: dict[str, Callable[[list[str]], tuple[str, int | None]]] = {
    "sph2pipe": _sph2pipe,
    "flac": _flac,
    "cat": _cat,
}
