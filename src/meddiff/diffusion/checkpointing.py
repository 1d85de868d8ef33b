"""The state of a training on disk, from which an interrupted one resumes."""

import json
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
from meddiff.core.files import remove_unfinished, write_text

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

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors by the part before the first dot of their names; see `prefixed`."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = tensor
        return parts


def prefixed(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the part of a state that they belong to before their names."""
    return {f"{part}.{key}": tensor for key, tensor in tensors.items()}


def named_moments(optimizer: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the moments in an optimiser's state, by `<number of the parameter>.<name>`."""
    state = optimizer["state"].items()
    return {f"{number}.{key}": each for number, own in state for key, each in own.items()}


def numbered_moments(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return such moments as an optimiser's state has them."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    return moments


class CheckpointFile:
    """One training's state, whole at any time; a context manager that keeps other trainings out.

    It is no output of a job, since Snakemake removes those of a job that was killed.

    Args:
        key: what the training's result depends on, by name. A state of another key is not used.
        seconds: between two states, see `is_due`.

    Raises:
        MeddiffError: on entry, another process is training into this file.
    """

    def __init__(self, path: str | Path, key: Mapping[str, str], seconds: float = 0) -> None:
        self.path, self._key = Path(path), dict(key)
        self._seconds, self._saved = seconds, time.monotonic()
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
        """Return the state to resume from, or None where there is none with this key.

        Raises:
            MeddiffError: a training with this key diverged, and would again; see
                `keep_last_good`.
        """
        if self._reason.exists():
            self._check_diverged()
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

    def is_due(self) -> bool:
        """Return whether it is time to save."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self, state: TrainState) -> None:
        """Replace what is there, all at once."""
        about = {"key": self._key, "values": dict(state.values)}
        save_checkpoint(self.path, state.tensors, about, quiet=True)
        self._saved = time.monotonic()

    def keep_last_good(self, reason: str) -> str:
        """Keep what a training that diverged leaves, so that it is not repeated to no purpose.

        Its state, if there is one, is renamed to `<name>.last_good.safetensors`; the reason lies
        beside it, in `<name>.diverged.json`, and ends the next training with the same key.

        Returns:
            The reason, with the file that was kept.
        """
        if self.path.exists():
            kept = self.path.rename(self._beside(f"last_good{self.path.suffix}"))
            reason += f"; the last checkpoint is kept as {kept}"
        write_text(json.dumps({"key": self._key, "reason": reason}), self._reason)
        return reason

    def _check_diverged(self) -> None:
        try:
            about = json.loads(self._reason.read_text(encoding="utf-8"))
            key, reason = about["key"], str(about["reason"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("cannot read %s (%s)", self._reason, error)
            return
        if key == self._key:
            again = "settings, images and code are those that diverged (%s): move it away to try"
            log.warning(again, self._reason)
            raise MeddiffError(reason)

    @property
    def _reason(self) -> Path:
        return self._beside("diverged.json")

    def _beside(self, ending: str) -> Path:
        name = self.path.name.removesuffix(self.path.suffix).removesuffix(".state")
        return self.path.with_name(f"{name}.{ending}")

    def remove(self) -> None:
        """Delete the state of a training that is done."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            self._reason.unlink(missing_ok=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)


def interrupted_at(name: str, step: int, steps: int) -> MeddiffError:
    """Return the error of a training that is ended by SIGTERM, its state saved."""
    return MeddiffError(f"{name}: interrupted (SIGTERM) at step {step}/{steps}; rerun to resume")


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
