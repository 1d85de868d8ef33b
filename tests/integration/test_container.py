"""What an image promises, without a builder: its variables, any user id, a read-only root."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from snakemake.utils import update_config

from conftest import ROOT, SMOKE
from meddiff.data.registry import address_of
from meddiff.workflow.archives import Archives, downloads_among
from meddiff.workflow.config import load_config

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
    assert refused.returncode == 1 and "`meddiff verify`" in refused.stdout
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


def test_the_pod_has_the_token_that_its_images_need():
    """By the profile that it runs, whose archives come from Kaggle."""
    *_, job = yaml.safe_load_all((ROOT / "containers/kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (profile,) = (each for each in container["args"] if each.startswith("--profile="))
    options = yaml.safe_load((ROOT / profile.split("=")[1] / "config.yaml").read_text())
    values: dict = {}
    for name in np.atleast_1d(options["configfile"]):
        update_config(values, yaml.safe_load((ROOT / str(name)).read_text()))
    raw = Archives(load_config(values), drawn=False)
    addresses = [address_of(file, {}) for file in downloads_among(raw.images)]
    assert any(address.startswith("kaggle:") for address in addresses)
    (token,) = (each for each in container["env"] if each["name"] == "KAGGLE_API_TOKEN")
    secret = token["valueFrom"]["secretKeyRef"]
    header = (ROOT / "containers/kubernetes.yaml").read_text().split("apiVersion")[0]
    assert f"create secret generic {secret['name']} --from-literal={secret['key']}=" in header


def test_both_recipes_take_the_same_arguments_and_packages():
    """And the script that checks them passes each argument on."""
    docker, definition, check = (
        (ROOT / name).read_text()
        for name in ("Dockerfile", "containers/meddiff.def", "containers/check.sh")
    )
    arguments = set(re.findall(r"^ARG (\w+)=", docker, re.M))
    section = definition.split("%arguments")[1].split("%files")[0]
    assert arguments == set(re.findall(r"^    (\w+)=\S", section, re.M))
    for name in arguments:
        assert f"{{{{ {name} }}}}" in definition.split("%post")[1]
        assert re.search(rf'--build-arg "?{name}=', check) and f"{{{{ {name} }}}}" in check
    packages = [set(re.search(r"recommends (.*?)( \\)?$", text, re.M)[1].split())
                for text in (docker, definition)]  # fmt: skip
    assert packages[0] == packages[1] == {"g++", "git"}


@pytest.mark.parametrize(
    ("device", "index", "cuda"),
    [("cpu", "https://index.example", False), ("cpu", "", True), ("cuda", "", True)],
)
def test_the_index_for_cpus_leaves_cuda_out(tmp_path, device, index, cuda):
    """Without it the image is large, and the build says so."""
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" != -r ] || cat "$2" >lock; shift; done\n'
    )
    fake.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    done = subprocess.run(
        ["sh", str(ROOT / "containers/install.sh"), device], cwd=tmp_path, check=True, text=True,
        capture_output=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PIP_EXTRA_INDEX_URL": index},
    )  # fmt: skip
    names = [line.split("==")[0] for line in (tmp_path / "lock").read_text().splitlines()]
    assert "torch" in names and ("triton" in names) == cuda
    assert any(name.startswith("nvidia-") for name in names) == cuda
    assert ("CUDA" in done.stderr) == (device == "cpu" and cuda)
