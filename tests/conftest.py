"""What several test files need: the project's root, real images, Snakemake as users run it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

# The tests' nets are tiny: a second thread only waits for the first. Jobs set their own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests/smoke.yaml"
REAL = ROOT.parent / "shared/real/isic_uda1"


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
def snakemake() -> Run:
    """Return a function that runs Snakemake from the project's root: (directory, *arguments)."""

    def run(
        directory: Path,
        *arguments: str | Path,
        configs: Sequence[Path] = (SMOKE,),
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess:
        program = Path(sys.executable).with_name("snakemake")
        overlays = ["--configfile", *configs] if configs else []
        command = [program, "--cores", "2", "--directory", directory, *arguments, *overlays]
        done = subprocess.run(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=800,
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
