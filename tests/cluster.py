"""A cluster on one machine: Slurm's real daemons, two nodes with a GPU each, two users.

The GPUs are none: files that Slurm counts. All of it lives in namespaces of its own: a network of
loopback alone, and mounts over /etc/slurm, /etc/hosts and the list of users, so that the machine's
own stay as they are. When the block ends, whatever still runs there is ended by the kernel.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
DAEMONS = ("munged", "slurmctld", "slurmd", "unshare", "nsenter", "setpriv")
PATH = f"{os.environ['PATH']}:/usr/sbin"
USERS = {"alice": 40001, "bob": 40002}
NODES = ("node-a", "node-b")
# As the first process of its own it mounts, brings loopback up, and waits until it is ended. What
# the users need, the project and its Python, is there to read alone, also where only root may pass.
WORLD = """
set -e
folder=$1 python=$2 network=$3 closed=$4
shift 4
"$python" -c "$network"
mount --make-rprivate /
for each in hosts passwd group; do mount --bind "$folder/$each" "/etc/$each"; done
mount --bind "$folder" /etc/slurm
number=0
for each; do
    number=$((number + 1))
    mkdir -p "$folder/kept/$number"
    mount --rbind "$each" "$folder/kept/$number"
done
[ -z "$closed" ] || mount -t tmpfs -o mode=755 tmpfs "$closed"
number=0
for each; do
    number=$((number + 1))
    mkdir -p "$each"
    mount --rbind "$folder/kept/$number" "$each"
    mount -o remount,ro,bind "$each"
done
touch "$folder/ready"
exec sleep infinity
"""
# Slurm looks names up only where an address is set that is not 127.0.0.1.
LOOPBACK = """
import fcntl, socket, struct
there = socket.socket()
fcntl.ioctl(there, 0x8914, struct.pack("16sh14x", b"lo", 1))
address = struct.pack("16sHH4s8x", b"lo:0", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
fcntl.ioctl(there, 0x8916, address)
"""
CONFIGURATION = """
ClusterName=lab
SlurmctldHost=head(127.0.0.1)
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
SlurmctldPort=6817
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName=node-a NodeAddr=127.0.0.1 Port=6818 CPUs=8 RealMemory=16000 Gres=gpu:1 Features=a
NodeName=node-b NodeAddr=127.0.0.1 Port=6819 CPUs=8 RealMemory=16000 Gres=gpu:1 Features=b
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        folder: what its users may read; each has a folder of their own in it.
        within: the beginning of commands that root runs on it.
    """

    folder: Path
    within: list[str]

    def home(self, user: str) -> Path:
        """The folder of one user."""
        return self.folder / "home" / user

    def command(self, *command: str | Path, user: str = "root") -> list[str]:
        """A command as one of its users runs it in the project's root."""
        who = ["env", "-C", str(ROOT)]
        if user != "root":
            number = USERS[user]
            who += ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups",
                    "env", f"HOME={self.home(user)}", f"USER={user}",
                    f"LOGNAME={user}"]  # fmt: skip
        return [*self.within, *who, *map(str, command)]

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait(self, command: list[str], expected: set[str], seconds: float = 60) -> None:
        """Wait until the words that a command prints are these."""
        until = time.monotonic() + seconds
        while (words := set(self.ask(*command).split())) != expected:
            assert time.monotonic() < until, f"{command}: {words}\n{self.logs()}"
            time.sleep(0.3)

    def logs(self) -> str:
        """The ends of what the daemons logged."""
        return "\n".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    absent = [name for name in DAEMONS if not shutil.which(name, path=PATH)]
    if absent or not find_spec("snakemake_executor_plugin_slurm"):
        return f"Slurm is not here: {', '.join(absent) or 'its executor plugin'}"
    if os.getuid() != 0 or not Path("/etc/slurm").is_dir():
        return "slurmd starts jobs as root alone, and looks in /etc/slurm"
    alone = ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(alone, check=False).returncode:
        return "namespaces of one's own are not allowed here"
    return None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster; end it with the block."""
    # A socket's path may not be longer than some hundred characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        _write(folder)
        world = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child",
             "--mount-proc", "sh", "-c", WORLD, "sh", str(folder), sys.executable, LOOPBACK,
             *_needed()]
        )  # fmt: skip
        try:
            first = _first_process(world, folder)
            enter = ["nsenter", f"--target={first}", "--mount", "--net", "--pid"]
            cluster = Cluster(folder, [*enter, "env", f"PATH={PATH}"])
            for host, command in _daemons(folder).items():
                _start(cluster, host, command)
                time.sleep(0.5)
            cluster.wait(["sinfo", "--noheader", "--format=%T"], {"idle"})
            yield cluster
        finally:
            world.kill()
            world.wait(timeout=30)


def _write(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File=/dev/null\n")
    (folder / "hosts").write_text(f"127.0.0.1 localhost head {' '.join(NODES)}\n")
    people: Mapping[str, str] = {
        "passwd": "{name}:x:{number}:{number}::{folder}/home/{name}:/bin/sh\n",
        "group": "{name}:x:{number}:\n",
    }
    for file, line in people.items():
        added = [line.format(name=n, number=i, folder=folder) for n, i in USERS.items()]
        (folder / file).write_text(Path("/etc", file).read_text() + "".join(added))
    for user, number in USERS.items():
        (folder / "home" / user).mkdir(parents=True)
        os.chown(folder / "home" / user, number, number)


def _needed() -> list[str]:
    """Return the folder that only root may pass, if there is one, and what users need."""
    needed = [Path(sys.base_prefix), ROOT]
    folders = {folder for path in needed for folder in path.parents}
    closed = [folder for folder in sorted(folders) if not folder.stat().st_mode & 0o001]
    return [str(closed[0]) if closed else "", *map(str, needed)]


def _daemons(folder: Path) -> dict[str, list[str]]:
    """Return what runs on each host."""
    munge = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "seed", "log")]
    return {
        "munge": ["munged", "--foreground", "--force", f"--key-file={folder}/key",
                  f"--socket={folder}/munge.socket", *munge],
        "head": ["slurmctld", "-D", "-i"],
        **{node: ["slurmd", "-D"] for node in NODES},
    }  # fmt: skip


def _start(cluster: Cluster, host: str, command: list[str]) -> None:
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host, *command]
    with (cluster.folder / f"{host}.out").open("w") as out:
        subprocess.Popen([*cluster.within, *named], stdout=out, stderr=out)


def _first_process(world: subprocess.Popen, folder: Path) -> int:
    for _ in range(200):
        if (folder / "ready").exists():
            children = Path(f"/proc/{world.pid}/task/{world.pid}/children").read_text()
            return int(children.split()[0])
        time.sleep(0.05)
    raise AssertionError("no namespace was made")
