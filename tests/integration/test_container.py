"""What an image promises, without a builder: its variables, any user id, a read-only root."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, SMOKE

# Mounts of the test alone; inside, a user id that no file of users names and no right is left.
ROOM = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -o remount,ro,bind /
mount -t tmpfs -o mode=1777 tmpfs /tmp
shift
if touch "$PWD/written" 2>/dev/null; then echo the root can be written to; exit 3; fi
exec unshare --user --map-user=12345 --map-group=12345 env -i "$@"
"""


def environment() -> list[str]:
    """Variables of the Dockerfile, and a path with the system's programs."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    declared = re.search(r"^ENV (.*)$", text, re.M)
    assert declared
    return [*declared[1].split(), "PATH=/usr/bin:/bin", "OMP_NUM_THREADS=1"]


@pytest.fixture
def room(tmp_path: Path):
    """Return a function that runs a command there, in the project, with a mounted run directory."""
    run = tmp_path / "run"
    run.mkdir()
    entered = ["unshare", "--mount", "sh", "-c", ROOM, "sh", str(run)]

    def enter(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*entered, *environment(), *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    if not shutil.which("unshare") or enter("true").returncode:
        pytest.skip("namespaces of one's own are not allowed here")
    return enter, run


@pytest.mark.slow
def test_a_run_needs_its_directory_alone(room):
    enter, run = room
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    options = ["--cores", "2", "--directory", "/mnt", "--configfile", str(SMOKE)]
    made = enter(snakemake, "data/images/index.csv", *options)
    assert made.returncode == 0, made.stdout[-3000:]
    assert (run / "data/images/index.csv").is_file()
    record = (run / ".snakemake/meddiff/records/data/images/index.csv.json").read_text()
    assert '"author"' in record
    again = enter(snakemake, "data/images/index.csv", *options)
    assert "Nothing to be done" in again.stdout
    # Without a run directory it says so.
    refused = enter(snakemake, "--cores", "1", "data/images/index.csv")
    assert refused.returncode == 1 and "you may only read" in refused.stdout
    assert "Traceback" not in refused.stdout
