"""What an image promises, without a builder: its variables, any user id, a read-only root."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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
    programs = Path(sys.executable).parent
    return [*declared[1].split(), f"PATH={programs}:/usr/bin:/bin", "OMP_NUM_THREADS=1"]


def pod() -> list[str]:
    """What the pod of containers/kubernetes.yaml starts, up to Snakemake's own arguments."""
    *_, job = yaml.safe_load_all((ROOT / "containers/kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = container["args"]
    assert "--profile=profiles/thesis" in given and "--directory=/runs/thesis" in given
    assert container["volumeMounts"][0]["mountPath"] == "/runs"
    return [*container["command"], *given[:2]]


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
    snakemake = "snakemake"
    options = ["--cores", "2", "--directory", "/mnt", "--configfile", str(SMOKE)]
    made = enter(snakemake, "data/images/index.csv", *options)
    assert made.returncode == 0, made.stdout[-3000:]
    assert (run / "data/images/index.csv").is_file()
    record = (run / ".snakemake/meddiff/records/data/images/index.csv.json").read_text()
    assert '"author"' in record
    again = enter(snakemake, "data/images/index.csv", *options)
    assert "Nothing to be done" in again.stdout
    # A pod that was killed leaves a lock; the next one goes on.
    (run / "data/images/index.csv").unlink()
    (run / ".snakemake/locks").mkdir(exist_ok=True)
    (run / ".snakemake/locks/0.output.lock").write_text("data/images/index.csv\n")
    assert "cannot be locked" in enter(snakemake, "data/images/index.csv", *options).stdout
    next_one = enter(*pod(), "data/images/index.csv", *options)
    assert next_one.returncode == 0 and (run / "data/images/index.csv").is_file(), next_one.stdout
    # Without a run directory it says so.
    refused = enter(snakemake, "--cores", "1", "data/images/index.csv")
    assert refused.returncode == 1 and "you may only read" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_apptainer_copies_each_file_on_a_line_of_its_own():
    """It reads the first two words of a line, and leaves the others out without a message."""
    definition = (ROOT / "containers/meddiff.def").read_text()
    files = re.search(r"^%files\n((?: .*\n)+)", definition, re.M)
    assert files
    for line in files[1].splitlines():
        source, target = line.split()
        assert (ROOT / source).exists() and target == "/opt/meddiff/", line
    built = re.search(r"^FROM (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert built and f"\nFrom: {built[1]}\n" in definition


def test_the_lock_needs_nothing_that_pip_cannot_build():
    """Pyradiomics has no wheel, and its sources do not build under Python 3.12."""
    assert "pyradiomics" not in (ROOT / "requirements.txt").read_text()
