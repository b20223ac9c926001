"""Kaldi's input pipes: commands in place of a file, such as ``sph2pipe -f wav -p -c 1 FILE |``.

None is ever run. Calls of ``flac``, ``sph2pipe`` and ``cat`` that only decode one file are read as that file,
or as the channel that they choose. Every option must be known to leave the audio unchanged; otherwise the
entry is a problem.
"""

from __future__ import annotations

import getopt
import shlex
from collections.abc import Callable
from pathlib import Path

from tasks.files.problems import Unusable, shorten

_SPECIAL = set("|;&<>$`()*?[]{}\n")
"""Characters with which a shell command is more than one program with its arguments."""

_FLAC_OPTIONS = ["decode", "stdout", "silent", "totally-silent", "force", "decode-through-errors"]
_CONTAINERS = ("wav", "rif", "sph", "raw", "aif", "au")


def parse_source(name: str) -> tuple[str, int | None]:
    """Parse an audio source of a listing: a file name, or a pipe.

    Returns:
        The file, and its channel, counted from 0, if the command chooses one.

    Raises:
        Unusable: If it is a command that would have to be run.
    """
    if not name.endswith("|"):
        return name, None
    command = name.removesuffix("|").strip()
    try:
        program, *words = shlex.split(command)
        parse = None if _SPECIAL & set(command) else _PARSERS.get(Path(program).name)
        if parse is not None:
            return parse(words)
    except (ValueError, getopt.GetoptError):
        pass  # not one of the calls that are known to leave the audio unchanged
    what = f"not run, as a listing is untrusted: {shorten(command, 200)}. Run it yourself, and name the file"
    raise Unusable("command", what)


def parse_channel(name: str, first: int) -> int:
    """Parse a channel that listings call A, B and so on or count from ``first``; the result counts from 0."""
    if len(name) == 1 and "A" <= name.upper() <= "H":
        return ord(name.upper()) - ord("A")
    if name.isascii() and name.isdigit() and int(name[:9]) >= first:
        return int(name[:9]) - first
    what = f"channel must be A, B or a number from {first} on, but is {shorten(name)!r} instead"
    raise Unusable("bad line", what)


def combine_channels(listed: int | None, piped: int | None) -> int | None:
    """Combine the channel that a listing asks for with the only one that its pipe yields, if any."""
    if piped is None or listed is None:
        return listed if piped is None else piped
    if listed > 0:
        raise Unusable("segment", f"channel {listed} of a command that yields a single channel, 0")
    return piped


def _sph2pipe(words: list[str]) -> tuple[str, int | None]:
    """Of its options, ``-p`` and ``-f`` concern the output file, and ``-c`` chooses a channel; ``-t`` and
    ``-s`` cut, ``-u`` and ``-a`` reduce samples to 8 bits, and ``-h`` replaces the header.
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
    """It must decode to standard output, silently or not; ``--skip``, ``--until`` and ``--cue`` cut."""
    options, (file,) = getopt.gnu_getopt(words, "dcsfF", _FLAC_OPTIONS)
    given = {option for option, _ in options}
    if not (given & {"-d", "--decode"} and given & {"-c", "--stdout"}):
        raise ValueError("its output is not the samples")
    return _plain(file), None


def _cat(words: list[str]) -> tuple[str, int | None]:
    _, (file,) = getopt.gnu_getopt(words, "u")
    return _plain(file), None


def _plain(file: str) -> str:
    if file in ("", "-"):
        raise ValueError("no file")
    return file


_PARSERS: dict[str, Callable[[list[str]], tuple[str, int | None]]] = {
    "sph2pipe": _sph2pipe,
    "flac": _flac,
    "cat": _cat,
}
