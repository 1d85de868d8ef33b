"""What a user meets who is not root: files of others that cannot be read or written.

Root's right to override permissions is dropped for a while, or in a new process for good; its name
and number stay, so that Python's own files remain readable.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

OVERRIDE = (0, 1, 2, 3)
"""CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER."""
VERSION_3 = 0x20080522
PR_CAPBSET_DROP = 24


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def plain_user() -> Iterator[None]:
    """Be denied what permissions deny; of use to tests that root runs, and harmless to others."""
    if sys.platform != "linux":
        pytest.skip("rights of root can be dropped on Linux alone")
    header, data = _Header(VERSION_3, 0), (_Data * 2)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(ctypes.byref(header), data) == 0
    before = data[0].effective
    data[0].effective &= ~sum(1 << number for number in OVERRIDE)
    assert libc.capset(ctypes.byref(header), data) == 0
    try:
        yield
    finally:
        data[0].effective = before
        assert libc.capset(ctypes.byref(header), data) == 0


def become_plain_user() -> None:
    """Drop root's rights in a child process (`preexec_fn`) and in all that it starts."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for number in OVERRIDE:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
