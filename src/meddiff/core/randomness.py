"""Random streams that depend on names and counters only, never on what was drawn before."""

import hashlib

import numpy as np


def stream_seed(*key: int | str) -> int:
    """Return a 63-bit seed for the stream named by `key`, e.g. ``(seed, "noise", step)``."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*key: int | str) -> np.random.Generator:
    """Return NumPy's generator of the stream named by `key`."""
    return np.random.default_rng(stream_seed(*key))
