"""Progress: a bar with ETA on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from meddiff.core.console import note

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

OnProgress = Callable[[int], object]
"""Called with a number of units: those just done, or all that are done so far."""


class Progress:
    """Count work done; show a bar if stderr is a terminal, else a line at intervals.

    Lines go to the log where it shows them, else to stderr; a process that logs errors alone, as
    all but the first of a training, shows none.

    Args:
        every: seconds between lines.
        done: units that were done before.
    """

    def __init__(
        self, total: int, what: str, unit: str = "step", every: float = 15.0, done: int = 0
    ) -> None:
        self._total, self._what, self._unit, self._every = total, what, unit, every
        self._before = self._done = done
        self._started = self._logged = time.monotonic()
        shown = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=what, unit=unit, initial=done, disable=not shown)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count `n` more units; `figures` (loss=…, lr=…) are shown beside them."""
        self._done += n
        self._bar.update(n)
        if figures:
            self._bar.set_postfix({k: f"{v:.3g}" for k, v in figures.items()}, refresh=False)
        now = time.monotonic()
        if now - self._logged >= self._every:
            self._logged = now
            line = self._line(now, figures)
            if log.isEnabledFor(logging.INFO):
                log.info(line, extra={"progress": True})
            elif self._bar.disable and log.isEnabledFor(logging.WARNING):
                note(line)

    def reach(self, done: int) -> None:
        """Show that `done` units are done in all."""
        self.advance(done - self._done)

    def _line(self, now: float, figures: dict[str, float]) -> str:
        rate = (self._done - self._before) / (now - self._started)
        left = (self._total - self._done) / rate if rate else float("inf")
        shown = "".join(f", {k} {v:.3g}" for k, v in figures.items())
        return (
            f"{self._what}: {self._done}/{self._total} {self._unit}s{shown}, "
            f"{rate:.3g} {self._unit}s/s, {left:.0f} s left"
        )
