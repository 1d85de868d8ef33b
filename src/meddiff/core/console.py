"""Terminal output of the commands: errors in one line, no complaints about closed pipes."""

import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error
from meddiff.core.imports import missing_extra

Say = Callable[[str], None]
"""Prints a line of a command's answer, as `say` does."""
INTERRUPTED = 128 + signal.SIGINT


def say(text: str) -> None:
    """Print a line, or nothing once the pipe is closed (`| head`, `| grep -q`).

    The command continues, so that its work and its exit status do not depend on the reader.
    """
    _print(text, sys.stdout)


def note(text: str) -> None:
    """Print a line to stderr, as `say` does."""
    _print(text, sys.stderr)


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit status: 1 after a MeddiffError, 130 after Ctrl-C."""
    try:
        return command()
    except KeyboardInterrupt:
        note("interrupted: finished files are kept")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if not (absent := missing_extra(error)):
            raise
        return _fail(absent)
    except (MeddiffError, PermissionError) as error:
        return _fail(permission_error(error) or error)
    finally:
        # Python would complain at exit about output of argparse and libraries to a closed pipe.
        for stream in (sys.stdout, sys.stderr):
            _print("", stream, end="")


def _fail(error: Exception) -> int:
    for line in str(error).splitlines():
        note(f"error: {line}")
    return 1


def printable(text: str, encoding: str) -> str:
    """Escape characters that an encoding lacks, e.g. bytes of a file name that is not UTF-8."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _print(text: str, stream: TextIO, end: str = "\n") -> None:
    try:
        print(printable(text, stream.encoding or "utf-8"), end=end, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
