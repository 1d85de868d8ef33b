"""Who runs this, on which machine, from which source."""

import getpass
import hashlib
import platform
import subprocess
import sys
from pathlib import Path

from meddiff.workflow.provenance.fingerprint import PACKAGE
from meddiff.workflow.provenance.record import Machine


def source_digest(root: str | Path) -> str:
    """Return the SHA-256 over the names and bytes of the library and the workflow."""
    digest = hashlib.sha256()
    root = Path(root)
    for file in sorted([*PACKAGE.rglob("*.py"), *(root / "workflow").rglob("*.*")]):
        if file.suffix in (".py", ".smk"):
            digest.update(f"{file.parent.name}/{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def git_commit() -> str | None:
    """Return the commit of the working tree, with "-dirty" where it differs; None without git."""
    return _git("-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40")


def _git(*arguments: str) -> str | None:
    """Return what git prints; None where it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def author() -> str:
    """Return who runs this, as git would sign a commit, or else the login name."""
    identity = _git("var", "GIT_AUTHOR_IDENT")
    if identity is not None:
        return identity.rsplit(">", 1)[0].strip() + ">"
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a name


def this_machine(threads: int, device: str) -> Machine:
    """Describe the machine that this process runs on."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch and device.startswith("cuda") else device
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability() if torch else "",
        device=gpu,
        threads=threads,
        python=platform.python_version(),
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
