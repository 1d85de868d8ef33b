"""The state of a training on disk, from which an interrupted one resumes."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.core.files import remove_unfinished

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

WAIT = 60
"""Seconds that an interrupted process may take to save its state."""


@dataclass(frozen=True)
class TrainState:
    """What a training needs to resume.

    Attributes:
        tensors: weights, averages and the optimiser's moments, by name.
        values: everything else, as JSON holds it.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Checkpointer:
    """Saves a state now and then, and loads the last.

    Args:
        file: an open file.
        seconds: time between states.
    """

    def __init__(self, file: "CheckpointFile", seconds: float) -> None:
        self._file, self._seconds = file, seconds
        self._saved = time.monotonic()

    def load(self) -> TrainState | None:
        """Return the state to resume from, or None."""
        return self._file.load()

    def is_due(self) -> bool:
        """Return whether it is time to save."""
        return time.monotonic() - self._saved >= self._seconds

    def keep_last_good(self) -> Path | None:
        """Rename the state, so that no other replaces it; return its path, if there is one."""
        return self._file.keep_last_good()

    def save(self, state: TrainState) -> None:
        """Save, and wait again."""
        self._file.save(state)
        self._saved = time.monotonic()


class CheckpointFile:
    """One training's state, whole at any time; a context manager that keeps other trainings out.

    It is no output of a job, since Snakemake removes those of a job that was killed.

    Args:
        path: where it lies (.safetensors).
        key: what the training's result depends on, by name. A state of another key is not used.

    Raises:
        MeddiffError: on entry, another process is training into this file.
    """

    def __init__(self, path: str | Path, key: Mapping[str, str]) -> None:
        self.path, self._key = Path(path), dict(key)
        self._lock = FileLock(f"{self.path}.lock", timeout=WAIT)

    def __enter__(self) -> "CheckpointFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise MeddiffError(
                f"another process writes {self.path}: wait for it or stop it, then rerun"
            ) from error
        # A process that was killed while it wrote leaves its temporary file.
        remove_unfinished(self.path)
        return self

    def __exit__(self, *failure: object) -> None:
        self._lock.release()

    def load(self) -> TrainState | None:
        """Return the state to resume from, or None where there is none with this key."""
        if not self.path.exists():
            return None
        try:
            tensors, about = load_checkpoint(self.path)
            saved_key, values = dict(about["key"]), dict(about["values"])
        except (MeddiffError, KeyError, TypeError, ValueError) as error:
            log.warning("starting from scratch: cannot read %s (%s)", self.path, error)
            return None
        changed = [name for name in self._key if saved_key.get(name) != self._key[name]]
        if changed:
            log.info("starting from scratch: %s changed since %s", ", ".join(changed), self.path)
            return None
        return TrainState(tensors, values)

    def save(self, state: TrainState) -> None:
        """Replace what is there, all at once."""
        about = {"key": self._key, "values": dict(state.values)}
        save_checkpoint(self.path, state.tensors, about, quiet=True)

    def keep_last_good(self) -> Path | None:
        """Rename the state, if there is one, to `<name>.last_good.safetensors`; return that."""
        if not self.path.exists():
            return None
        name = self.path.name.removesuffix(self.path.suffix).removesuffix(".state")
        return self.path.rename(self.path.with_name(f"{name}.last_good{self.path.suffix}"))

    def remove(self) -> None:
        """Delete the state of a training that is done."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Yield what SIGTERM sets, so that an interrupted training can save its state."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
