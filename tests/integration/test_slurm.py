"""A run as jobs of Slurm: its real daemons on this machine, on the loopback interface alone."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import ROOT, SMOKE

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}:/usr/sbin"
# Jobs look for the configuration in /etc/slurm alone: a mount that these processes alone see.
WITHIN = ["unshare", "--mount", "sh", "-c",
          'mount --make-rprivate / && mount --bind "$0" /etc/slurm && exec "$@"']  # fmt: skip
CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[list[str]]:
    """Return the beginning of commands that find a cluster of this machine."""
    missing = [name for name in DAEMONS if not shutil.which(name, path=PATH)]
    if missing or not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip(f"Slurm is not here: {', '.join(missing) or 'its executor plugin'}")
    if os.getuid() != 0 or not Path("/etc/slurm").is_dir():
        pytest.skip("slurmd starts jobs as root alone, and looks in /etc/slurm")
    # A socket's path may not be longer than some hundred characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        for each in ("state", "spool"):
            (folder / each).mkdir()
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        host = os.uname().nodename.split(".")[0]
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(folder=folder, user="root", host=host, ports=free_ports(2))
        )
        within = ["env", f"PATH={PATH}", *WITHIN, str(folder)]
        munge = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "seed", "log")]
        commands = (
            ["munged", "--foreground", "--force", f"--key-file={folder}/key",
             f"--socket={folder}/munge.socket", *munge],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D"],
        )  # fmt: skip
        running = []
        try:
            for command in commands:
                with (folder / f"{command[0]}.out").open("w") as out:
                    running.append(subprocess.Popen([*within, *command], stdout=out, stderr=out))
                time.sleep(1)
            wait_until_idle(within, folder)
            yield within
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(timeout=30)


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until_idle(within: list[str], folder: Path) -> None:
    for _ in range(60):
        done = subprocess.run(
            [*within, "sinfo", "--noheader", "--format=%T"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.stdout.strip() == "idle":
            return
        time.sleep(1)
    logs = "\n".join(path.read_text()[-1500:] for path in folder.glob("*.log"))
    raise AssertionError(f"the node is not idle: {done.stdout}{done.stderr}\n{logs}")


@pytest.mark.slow
def test_rules_are_jobs_of_slurm(slurm, tmp_path):
    done = subprocess.run(
        [
            *slurm, Path(sys.executable).with_name("snakemake"), "data/images/index.csv",
            "--profile", "profiles/slurm", "--directory", str(tmp_path / "run"),
            "--configfile", str(SMOKE), "--slurm-status-command", "squeue", "--slurm-no-account",
            "--slurm-init-seconds-before-status-checks", "5",
            "--default-resources", "mem_mb=1000", "runtime=5", "slurm_partition=main",
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert done.stdout.count("has been submitted with SLURM jobid") == 2, done.stdout
    run = tmp_path / "run"
    assert (run / "data/images/index.csv").is_file()
    assert (run / ".snakemake/meddiff/records/data/images/index.csv.json").is_file()
    assert "done in" in (run / "logs/index.log").read_text()
    jobs = subprocess.run(
        [*slurm, "squeue", "--states=all", "--noheader", "--format=%T"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert jobs.stdout.split() == ["COMPLETED", "COMPLETED"]
