"""What every job of a workflow does around its work: log, threads, record, one-line errors."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm.contrib.logging import logging_redirect_tqdm

from meddiff.core.console import INTERRUPTED
from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error
from meddiff.core.files import remove_unfinished
from meddiff.core.imports import leave_out_optional
from meddiff.core.settings import ComputeSettings
from meddiff.workflow.provenance.recording import (
    changed_inputs_error,
    job_metadata,
    record_outputs,
)

AFFECTS_RESULTS = False

log = logging.getLogger("meddiff")


@contextmanager
def job(snakemake: Any) -> Iterator[str]:
    """Run the work of a script, with Snakemake's object of that name; yield the device of its nets.

    Logs go to the rule's log and to stderr. A job that has imported torch, or whose rule has a
    resource `gpu`, computes with `compute.threads` CPU threads, others with one. It computes on
    `compute.device` where it asks for a GPU, else on the CPU. What a killed job left of its outputs
    is deleted, and a record is written for each.
    A `MeddiffError`, a file that this user may not read or write, and an input that changed
    meanwhile end the process with one line and status 1; any other exception is a bug and keeps its
    traceback.
    """
    _log_to(Path(snakemake.log[0]))
    leave_out_optional()
    main = sys.modules["__main__"]
    if not Path(getattr(main, "__file__", None) or sys.executable).is_file():
        del main.__file__  # fetched from a repository: worker processes would look for it here
    clock = time.monotonic()
    # Where a job runs is no parameter of its rule: a collaborator's other machine retrains nothing.
    compute = ComputeSettings.model_validate(snakemake.config.get("compute", {}))
    # cas_arms imports torch for some of its classifiers only, and later.
    gpus = getattr(getattr(snakemake, "resources", None), "gpu", None)
    nets = "torch" in sys.modules or gpus is not None
    threads = compute.threads if nets else 1
    metadata: dict[str, Any] = {}
    try:
        device = "cpu"
        if gpus:
            from meddiff.core.devices import choose_device

            device = choose_device(compute.device)
        for path in snakemake.output:
            remove_unfinished(path)
        metadata = job_metadata(snakemake, threads=threads, device=device)
        # Libraries sum in another order on another number of threads: results depend on it.
        with threadpool_limits(threads), logging_redirect_tqdm([log]):
            if nets:
                from meddiff.core.devices import limit_threads

                limit_threads(threads)
            yield device
        record_outputs(snakemake, metadata)
    except Exception as error:
        _log_error(_error_of_user(error, metadata) or error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("interrupted")
        sys.exit(INTERRUPTED)
    name = " ".join([str(snakemake.rule), *map(str, getattr(snakemake, "wildcards", ()))])
    log.info("%s: done in %.1f s", name, time.monotonic() - clock)


def _error_of_user(error: Exception, metadata: Mapping[str, Any]) -> MeddiffError | None:
    if isinstance(error, MeddiffError):
        return error
    return permission_error(error) or changed_inputs_error(metadata)


def _log_error(error: Exception) -> None:
    if isinstance(error, MeddiffError):
        for line in str(error).splitlines():
            log.error("error: %s", line)
    else:
        log.exception("unexpected error; please report it with this log")


class _LogFile(logging.FileHandler):
    """A job's log, whose lines stand on the terminal alone where the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log.setLevel(logging.INFO)
    log.propagate = False
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    if sys.stderr.isatty():
        # A bar shows the same there.
        terminal.addFilter(lambda record: not getattr(record, "progress", False))
    file = _LogFile(path, mode="w", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(terminal)
    log.addHandler(file)
