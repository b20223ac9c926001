"""How a command ends: with its results, with a line for each thing that is wrong, or stopped."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator, Mapping

from supernet.console.option_names import RUN, option_problems
from supernet.console.text import fail, halt
from supernet.errors import ArgumentError, UserError

_HEEDLESS = 141
"""The exit status of a program whose reader has gone, such as ``head``: 128 + SIGPIPE."""

OTHER_FOLDER = "Choose another folder with --out."


@contextlib.contextmanager
def main_guard(
    kept: str = "What was done is kept. The same command continues.",
    elsewhere: str = OTHER_FOLDER,
    exceptions: Mapping[str, str] = RUN,
) -> Iterator[None]:
    """Turn what a user can cause into one clear line and exit status 2, and Ctrl-C into a sentence that says
    what is ``kept``. ``elsewhere`` says what to do where the command may not write.
    """
    # ExecuTorch brings it; every command would begin with its line about operators that nothing here uses.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        yield
    except KeyboardInterrupt as e:
        halt(str(e) or f"Stopped. {kept}".rstrip())
    except ArgumentError as e:
        fail("\n".join(option_problems(e, exceptions)))
    except UserError as e:
        fail(str(e))
    except BrokenPipeError:
        # Nobody reads on; nor must Python try once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_HEEDLESS) from None
    except OSError as e:
        fail(_explain(e, elsewhere))


def _explain(error: OSError, elsewhere: str) -> str:
    where = f"'{error.filename}'" if error.filename else "the output"
    if error.errno == errno.ENOSPC:
        return (
            f"the disk must have room for {where}, but is full. Free some, then the same command continues."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if error.filename and os.path.exists(error.filename) and not os.access(error.filename, os.R_OK):
            return f"{where} must be readable, but is not ({error.strerror})."
        return f"{where} must be writable, but is not ({error.strerror}). {elsewhere}"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where} must be a folder, but it or what it lies in is a file. {elsewhere}"
    if error.errno == errno.ENAMETOOLONG:
        return f"{where} must be a shorter name: this disk does not take it. {elsewhere}"
    return f"{where}: {error.strerror or error}"
