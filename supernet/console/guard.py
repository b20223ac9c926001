"""The end of a command: its results, one line per problem, or an interruption."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator, Mapping

from supernet.console.option_names import RUN, option_problems, setting_options
from supernet.console.text import fail, halt
from supernet.errors import ArgumentError, UserError

_BROKEN_PIPE = 141
"""The exit status after its reader, such as ``head``, has closed the pipe: 128 + SIGPIPE."""

OTHER_FOLDER = "Choose another folder with --out."


@contextlib.contextmanager
def main_guard(
    kept: str = "What was done is kept. The same command continues.",
    elsewhere: str = OTHER_FOLDER,
    exceptions: Mapping[str, str] = RUN,
) -> Iterator[None]:
    """Turn user errors into one line per problem and exit status 2, and Ctrl-C into a sentence.

    Args:
        kept: What an interrupted command keeps.
        elsewhere: What to do if the command may not write to a folder.
        exceptions: As in ``option_names``.
    """
    # ExecuTorch brings it; every command would begin with its line about operators that nothing here uses.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        yield
    except KeyboardInterrupt as e:
        halt(str(e) or f"Stopped. {kept}".rstrip())
    except ArgumentError as e:
        fail(setting_options("\n".join(option_problems(e, exceptions))))
    except UserError as e:
        fail(setting_options(str(e)))
    except BrokenPipeError:
        # The reader is gone; Python must not write again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_BROKEN_PIPE) from None
    except OSError as e:
        fail(_explain(e, elsewhere))


def _explain(error: OSError, elsewhere: str) -> str:
    where = f"'{error.filename}'" if error.filename else "the output"
    if error.errno == errno.ENOSPC:
        return (
            f"the disk must have room for {where}, but is full. Free some space; the same command continues."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if error.filename and os.path.exists(error.filename) and not os.access(error.filename, os.R_OK):
            return f"{where} must be readable, but is not ({error.strerror})."
        return f"{where} must be writable, but is not ({error.strerror}). {elsewhere}"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where} must be a folder, but it or one of its parents is a file. {elsewhere}"
    if error.errno == errno.ENAMETOOLONG:
        return f"{where} must have a shorter name, but is too long for this disk. {elsewhere}"
    return f"{where}: {error.strerror or error}"
