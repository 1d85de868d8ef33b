"""Several processes that train together: torchrun, and on several machines Slurm's srun."""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ComputeSettings

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)

PORT = 29400
"""First port on which processes of several machines meet."""


def run_processes(arguments: Sequence[str], compute: ComputeSettings, name: str) -> None:
    """Run Python with these arguments in as many processes as `compute` says, and log their lines.

    Raises:
        MeddiffError: a process printed `error: ...`, or they ended with another status than 0.
    """
    log.info("%d processes on %d machines", compute.processes, compute.nodes)
    process = subprocess.Popen(
        [*_torchrun(compute), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_end_with_parent(),
        env=os.environ | {"OMP_NUM_THREADS": str(compute.threads)},
    )
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    faults = []
    assert process.stdout is not None
    try:
        for line in map(str.rstrip, process.stdout):
            if line.startswith("error: "):
                faults.append(line.removeprefix("error: "))
            elif line:
                log.info("%s", line)
        status = process.wait()
    finally:
        process.terminate()
        signal.signal(signal.SIGTERM, before)
    if faults:
        raise MeddiffError(faults[0])
    if status:
        raise MeddiffError(f"the processes of {name} ended with status {status}: see log")


def _torchrun(compute: ComputeSettings) -> list[str]:
    """Return the command that starts the processes; Slurm starts it on each of several machines."""
    command = [sys.executable, "-m", "torch.distributed.run"]
    command += [f"--nproc-per-node={compute.processes}"]
    if compute.nodes == 1:
        return [*command, "--standalone"]
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        raise MeddiffError(
            f"compute.nodes is {compute.nodes}, but this is no job of Slurm: set it to 1, or use a "
            "profile that submits to Slurm"
        )
    meeting = f"{socket.gethostname()}:{PORT + int(number) % 1000}"
    # A job that itself runs in a step of Slurm holds the processors that this step needs.
    start = ["srun", "--overlap", f"--nodes={compute.nodes}", f"--ntasks={compute.nodes}"]
    start += [f"--cpus-per-task={compute.processes * compute.threads}"]
    together = [f"--nnodes={compute.nodes}", f"--rdzv-id={number}", "--rdzv-backend=c10d"]
    return [*start, "--ntasks-per-node=1", *command, *together, f"--rdzv-endpoint={meeting}"]


def _end_with_parent() -> Callable[[], None] | None:
    """Return what makes a child of Linux end when its parent is killed."""
    if not sys.platform.startswith("linux"):
        return None
    libc, die = ctypes.CDLL(None), 1
    return lambda: libc.prctl(die, signal.SIGTERM)
