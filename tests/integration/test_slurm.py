"""Runs as jobs of Slurm: its real daemons, two nodes and two users on this machine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster import USERS, Cluster, cluster, missing
from conftest import SMOKE, planned
from meddiff.core.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow

DDPM = "models/ddpm/benign.safetensors"
SPEED = "logs/train_ddpm/benign_speed.csv"
LONGER = "diffusion: {steps: 150}\ncompute: {checkpoint_minutes: %d}\n"
FILES = [DDPM, "models/ddpm/benign_history.csv", "models/ddpm/benign_previews.npy"]
OPTIONS = ["--slurm-status-command", "squeue", "--slurm-no-account",
           "--slurm-init-seconds-before-status-checks", "5"]  # fmt: skip


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(reason)
    with cluster() as started:
        yield started


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start(slurm: Cluster) -> Start:
    """Return a function that starts Snakemake with the profile: (directory, *arguments)."""

    def run(
        directory: Path, *arguments: str, overlay: str = "", user: str = "root", **resources: object
    ) -> subprocess.Popen[str]:
        configs = [str(SMOKE)]
        if overlay:
            file = slurm.folder / f"{directory.name}.yaml"
            file.write_text(overlay)
            configs.append(str(file))
        given = {"mem_mb": 1000, "runtime": 10, "slurm_partition": "main", **resources}
        command = [
            Path(sys.executable).with_name("snakemake"), *arguments, "--profile", "profiles/slurm",
            "--directory", directory, *OPTIONS, "--configfile", *configs,
            "--default-resources", *(f"{key}={value}" for key, value in given.items()),
        ]  # fmt: skip
        return subprocess.Popen(
            slurm.command(*command, user=user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@pytest.fixture(scope="module")
def quiet(smoke_run: Path, snakemake: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a longer training, of a machine without Slurm."""
    folder = copied(smoke_run, tmp_path_factory.mktemp("quiet") / "run")
    overlay = folder.with_name("longer.yaml")
    overlay.write_text(LONGER % 60)
    snakemake(folder, DDPM, configs=[SMOKE, overlay])
    return folder


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def ended(run: subprocess.Popen[str], expected: int = 0) -> str:
    out = run.communicate(timeout=1500)[0]
    assert run.returncode == expected, out[-6000:]
    return out


def until(condition: Callable[[], object], run: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 300
    while not condition():
        assert run.poll() is None, run.communicate()[0][-6000:]
        assert time.monotonic() < limit
        time.sleep(0.1)


def jobs_of(slurm: Cluster, output: str) -> dict[str, dict[str, str]]:
    """What Slurm knows of the jobs that a run submitted, by what the executor calls them."""
    jobs = {}
    for number in re.findall(r"submitted with SLURM jobid (\d+)", output):
        text = slurm.ask("scontrol", "show", "job", number)
        fields = dict(re.findall(r"(\S+?)=(\S*)", text))
        jobs[fields["Comment"]] = fields
    return jobs


def process_of(script: str, directory: Path) -> int:
    """The process of a rule's script in a run directory."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, where = (folder / "cmdline").read_bytes(), (folder / "cwd").readlink()
        except OSError:
            continue
        if where == directory and words.strip(b"\0").endswith(script.encode()):
            return int(folder.name)
    raise AssertionError(f"{script} does not run in {directory}")


def assert_same(made: Path, expected: Path, files: list[str]) -> None:
    for name in files:
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name


def left_over(run: Path) -> list[Path]:
    """States, locks and half-written files."""
    return [path for path in (run / "models/ddpm").glob("*") if re.search(r"state|^\.", path.name)]


# With the profile's signal before the limit, and without it.
LIMITS = {"warned": [], "killed": ["--set-resources", "train_ddpm:runtime=1440"]}


@pytest.fixture(scope="module")
def limited(
    slurm: Cluster, start: Start, smoke_run: Path
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Runs whose training will meet a limit of one minute: it is held until then."""
    runs = {}
    try:
        for name, options in LIMITS.items():
            folder = copied(smoke_run, slurm.folder / name)
            (folder / SPEED).unlink()
            runs[name] = start(folder, DDPM, *options, overlay=LONGER % 60, constraint="a")
        for name, run in runs.items():
            until((slurm.folder / name / SPEED).exists, run)
            os.kill(process_of("train_ddpm.py", slurm.folder / name), signal.SIGSTOP)
        names = slurm.ask("squeue", "--noheader", "--format=%i %k").splitlines()
        for number, name in map(str.split, names):
            if name == "rule_train_ddpm_wildcards_benign":
                slurm.ask("scontrol", "update", f"JobId={number}", "TimeLimit=1")
        yield runs
    finally:
        for run in runs.values():
            run.kill()


@pytest.mark.timeout(2400)  # some 50 jobs of Slurm on two cores
def test_two_users_share_an_installation(slurm, start, limited, smoke_run):
    """Everything from archives to the page, with GPUs and shards, beside a short run of another."""
    split = "data/images/split.csv"
    alices, bobs = (slurm.home(user) / "run" for user in USERS)
    overlay = "compute: {device: auto}\nsampling: {shards: 2}\n"
    everything = start(alices, "all", "--jobs", "6", overlay=overlay, user="alice")
    ended(start(bobs, split, user="bob"))
    out = ended(everything)
    tables = [str(path.relative_to(smoke_run)) for path in smoke_run.glob("results/**/*.csv")]
    assert len(tables) > 20 and {"results/table_5_2.csv", "results/verdict.csv"} <= {*tables}
    assert_same(alices, smoke_run, [*tables, "data/images/noise/benign.npy"])
    assert "verdict" in (alices / "results/report.html").read_text()
    assert_same(bobs, smoke_run, [split])
    assert {path.stat().st_uid for path in (alices / "results").iterdir()} == {USERS["alice"]}
    # Short rules that were one job of Slurm have logs of their own.
    assert out.count("submitted with SLURM jobid") <= sum(planned(out).values()) - 14
    for name in ("split", "image_sets", "noise", "table_5_2", "verdict", "train_ddpm/benign"):
        assert (alices / f"logs/{name}.log").is_file()
    assert not list((alices / "logs").rglob("slurm/**/*"))


@pytest.mark.parametrize("name", LIMITS)
def test_a_training_that_meets_its_limit_goes_on(slurm, limited, quiet, name):
    folder = slurm.folder / name
    out = ended(limited[name])
    state = "TIMEOUT" if name == "killed" else "FAILED|TIMEOUT"  # the signal may come too late
    assert re.search(f"SLURM status is: '({state})'", out), out[-5000:]
    (log,) = (folder / "logs/slurm/rule_train_ddpm/benign").iterdir()
    stopped = re.search(r"SIGTERM.* (\d+)/150\b", log.read_text())
    assert stopped and int(stopped[1]) < 150
    text = (folder / "logs/train_ddpm/benign.log").read_text()
    assert re.search(rf"resumed .*\b{stopped[1]}/150\b", text)
    assert_same(folder, quiet, FILES)
    assert not left_over(folder)


def test_a_training_that_is_preempted_goes_on(slurm, start, smoke_run, quiet):
    folder = copied(smoke_run, slurm.folder / "preempted")
    run = start(folder, DDPM, overlay=LONGER % 0, constraint="b")
    until((folder / "models/ddpm/benign.state.safetensors").exists, run)
    slurm.ask("sbatch", "--partition=urgent", "--nodelist=node-b", "--exclusive", "--wait",
              f"--output={slurm.folder}/urgent.out", "--wrap", "true")  # fmt: skip
    out = ended(run)
    ((name, job),) = jobs_of(slurm, out).items()
    assert name == "rule_train_ddpm_wildcards_benign"
    assert job["Restarts"] == "1" and job["JobState"] == "COMPLETED"
    assert "resumed" in (folder / "logs/train_ddpm/benign.log").read_text()
    assert_same(folder, quiet, FILES)
    assert not left_over(folder)


def test_two_nodes_train_together(slurm, start, smoke_run):
    folder = copied(smoke_run, slurm.folder / "nodes")
    for name in FILES:
        (folder / name).unlink()
    out = ended(start(folder, DDPM, overlay="compute: {device: auto, nodes: 2}\n"))
    (job,) = jobs_of(slurm, out).values()
    assert job["NumNodes"] == "2" and job["TresPerJob"] == "gres:gpu:2"
    log = (folder / "logs/train_ddpm/benign.log").read_text()
    assert re.search(r"\b1 process.* 2 machines", log)
    made, expected = (pd.read_csv(run / FILES[1]) for run in (folder, smoke_run))
    pd.testing.assert_frame_equal(made, expected, rtol=1e-4)
    weights, reference = (load_checkpoint(run / DDPM)[0] for run in (folder, smoke_run))
    for key, weight in reference.items():
        np.testing.assert_allclose(weights[key], weight, atol=2e-4)


def test_a_full_disk_is_one_line(slurm, start, smoke_run):
    archive = "data/raw/phantom/kaggle/2019.zip"
    run = slurm.folder / "full"
    run.mkdir()
    slurm.ask("mount", "-t", "tmpfs", "-o", "size=700k,nr_inodes=2000", "tmpfs", str(run))
    out = ended(start(run, archive, "--retries", "0"), expected=1)
    lines = [line for line in out.splitlines() if "no space" in line]
    assert lines and all(archive in line for line in lines), out
    assert "Traceback" not in out
    slurm.ask("test", "!", "-e", str(run / archive))
    slurm.ask("mount", "-o", "remount,size=100m", str(run))
    ended(start(run, archive))
    slurm.ask("cmp", str(run / archive), str(smoke_run / archive))
