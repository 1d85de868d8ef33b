"""What every command does with the terminal: one line for a fault, quiet when nobody reads on."""

import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from meddiff.core.errors import MeddiffError
from meddiff.core.files import refusal

INTERRUPTED = 128 + signal.SIGINT


def say(text: str) -> None:
    """Print a line; once the reader has gone (`| head`, `| grep -q`), print nothing more.

    The command goes on, so that its work is done and its exit status is true.
    """
    _print(text, sys.stdout)


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit status.

    That is 1 after a fault that a user can mend, which is told in one line, and 130 after Ctrl-C.
    """
    try:
        return command()
    except KeyboardInterrupt:
        _print("interrupted: finished files are kept", sys.stderr)
        return INTERRUPTED
    except (MeddiffError, PermissionError) as error:
        for line in str(refusal(error) or error).splitlines():
            _print(f"error: {line}", sys.stderr)
        return 1
    finally:
        # What argparse and libraries have printed: Python would complain of it as it ends.
        for stream in (sys.stdout, sys.stderr):
            _print("", stream, end="")


def printable(text: str, encoding: str) -> str:
    """Write out what an encoding lacks, e.g. the bytes of a file's name that is no UTF-8."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _print(text: str, stream: TextIO, end: str = "\n") -> None:
    try:
        print(printable(text, stream.encoding or "utf-8"), end=end, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
