"""What several test files need: the project's root, real images, Snakemake as users run it."""

import logging
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

import warm

# The tests' nets are tiny: a second thread only waits for the first. Jobs set their own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time; `--hypothesis-profile search` looks for new ones.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("fixed")

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests/smoke.yaml"
REAL = ROOT.parent / "shared/real/isic_uda1"


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Begin each test with the same random states; end it with the process as it was."""
    # Here, since they read the number of threads when they are imported.
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    folder, environment, threads = Path.cwd(), dict(os.environ), torch.get_num_threads()
    before = {each: (each.level, each.propagate, each.handlers[:]) for each in our_loggers()}
    yield
    os.chdir(folder)
    torch.set_num_threads(threads)
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    for each in our_loggers():
        level, each.propagate, each.handlers[:] = before.get(each, (logging.NOTSET, True, []))
        each.setLevel(level)


def our_loggers() -> list[logging.Logger]:
    named = logging.root.manager.loggerDict.items()
    return [
        logger
        for name, logger in named
        if name.split(".")[0] == "meddiff" and isinstance(logger, logging.Logger)
    ]


@pytest.fixture(scope="session")
def real_images() -> Path:
    """211 real dermoscopic images beside the project, not part of it."""
    if not (REAL / "metadata.csv").is_file():
        pytest.skip("the real images (../shared/real/isic_uda1) are not beside the project")
    return REAL


def planned(output: str) -> dict[str, int]:
    """Return the jobs that a dry-run planned, by rule."""
    if "Nothing to be done" in output:
        return {}
    stats = output.split("Job stats:")[1].split("total")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", stats, re.M)}


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Return a folder with the environment's programs, as forks of a process that is warm."""
    with warm.programs() as folder:
        yield folder


@pytest.fixture(scope="session")
def snakemake(programs: Path) -> Run:
    """Return a function that runs Snakemake from the project's root: (directory, *arguments)."""

    def run(
        directory: Path,
        *arguments: str | Path,
        configs: Sequence[Path] = (SMOKE,),
        check: bool = True,
        env: Mapping[str, str] | None = None,
        program: Path = programs / "snakemake",
    ) -> subprocess.CompletedProcess:
        overlays = ["--configfile", *configs] if configs else []
        command = ["--cores", "2", "--directory", directory, *arguments, *overlays]
        done = subprocess.run(
            [program, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2000,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    return run


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory, snakemake: Run, worker_id: str) -> Path:
    """Return the run directory of the whole DAG at smoke scale; workers share the one run."""
    folder = tmp_path_factory.mktemp("smoke")
    if worker_id == "master":
        return whole_run(folder, snakemake)
    made = tmp_path_factory.getbasetemp().parent / "smoke"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            whole_run(folder, snakemake).rename(made)
    return Path(shutil.copytree(made, folder / "copy"))


def whole_run(directory: Path, snakemake: Run) -> Path:
    """Make everything at smoke scale."""
    author = {"GIT_AUTHOR_NAME": "alice", "GIT_AUTHOR_EMAIL": "alice@example.org"}
    snakemake(directory, "all", env=author)
    return directory
