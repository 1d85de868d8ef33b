"""What every job of a workflow does around its work: log, threads, one-line errors."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm.contrib.logging import logging_redirect_tqdm

from meddiff.errors import MeddiffError

log = logging.getLogger("meddiff")


@contextmanager
def job(log_file: str | Path, threads: int = 1) -> Iterator[None]:
    """Run a job's work: log to `log_file` and stderr, with a fixed number of CPU threads.

    A `MeddiffError` ends the process with its one line and status 1; any other exception is a
    fault of ours and keeps its traceback.
    """
    _log_to(Path(log_file))
    started = time.monotonic()
    try:
        # Libraries sum in another order on another number of threads: results depend on it.
        with threadpool_limits(threads), logging_redirect_tqdm([log]):
            _limit_torch(threads)
            yield
    except MeddiffError as error:
        for line in str(error).splitlines():
            log.error("error: %s", line)
        sys.exit(1)
    except Exception:
        log.exception("unexpected error; please report it with this log")
        sys.exit(1)
    log.info("done in %.1f s", time.monotonic() - started)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.INFO)
    log.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    if sys.stderr.isatty():
        # A bar shows the same there.
        terminal.addFilter(lambda record: not getattr(record, "progress", False))
    file = logging.FileHandler(path, mode="w")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(terminal)
    log.addHandler(file)


def _limit_torch(threads: int) -> None:
    """Fix torch's threads if the job has imported torch; importing it here would cost seconds."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
