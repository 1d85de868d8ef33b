"""Records: what a file was made from, by whom, with what, on which machine.

A job writes one for each of its outputs as it ends, into the run's `.snakemake/meddiff/records/`.
Sharing copies them to `provenance/`, which git carries, bound to the bytes that DVC carries.
"""

import getpass
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from typing_extensions import TypedDict

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import RECORDS
from meddiff.core.files import atomic_write
from meddiff.workflow.provenance.digests import digest, sha256_here
from meddiff.workflow.provenance.fingerprint import git_commit, source_digest

LOCAL = RECORDS
SHARED = Path("provenance")
LARGEST = 4 * 2**20
"""Bytes of a record that is still believed to be one."""
LONGEST_NAME = 250
PACKAGES = ("meddiff", "torch", "torchvision", "monai", "numpy", "scipy", "scikit-learn", "pandas",
            "pillow", "snakemake")  # fmt: skip


def _path(text: str) -> str:
    """Check a path before anything looks for it."""
    parts = text.split("/")
    if not text.isprintable() or max(len(part.encode()) for part in parts) > LONGEST_NAME:
        raise ValueError("no name of a file")
    return text


RunPath = Annotated[str, AfterValidator(_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Machine(_Model):
    """Where a job ran: what decides the last digits of its numbers."""

    system: str
    processor: str
    instructions: str
    """Vector instructions that torch uses on the CPU, e.g. AVX512; empty for jobs without torch."""
    device: str
    """Name of the GPU that the nets ran on, or "cpu"."""
    threads: int
    python: str


class Metadata(TypedDict, total=False):
    """What Snakemake keeps of a file, as far as it has to be of the right type."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    rule: str | None
    input: list[str] | None
    log: list[str] | None
    shellcmd: str | None
    params: list[Any] | None
    code: str | None
    record_format_version: int
    conda_env: str | None
    container_img_url: str | None
    software_stack_hash: str | None
    job_hash: int | None
    starttime: float | None
    endtime: Annotated[float, Field(ge=0, lt=2**33)] | None
    incomplete: bool | None
    external_jobid: str | None
    input_checksums: dict[str, Any] | None


class Record(_Model):
    """What one file was made from. Paths start at the run directory."""

    path: RunPath
    sha256: Sha256
    md5: Md5
    size: Annotated[int, Field(ge=0)]
    rule: str | None
    """None for a file that was put there by hand."""
    inputs: dict[RunPath, Sha256]
    params: dict[str, Any]
    """The rule's parameters: its part of the configuration, seed, and digest of its code."""
    source: str
    """SHA-256 over the whole source at that time."""
    commit: str | None
    packages: dict[str, str]
    machine: Machine | None
    author: str
    started: str
    finished: str
    snakemake: Metadata | None = None
    """Snakemake's own record, without which it cannot tell whether an edit concerns the file."""


Records = Mapping[str, Record]


def plain(params: Any) -> dict[str, Any]:
    """Return a rule's named parameters as JSON can hold them."""
    told: dict[str, Any] = json.loads(json.dumps(dict(params.items()), default=repr))
    return told


def describe_file(path: str, **known: Any) -> Record:
    """Return the record of a file as it stands, with what is `known` of its making."""
    unknown: dict[str, Any] = {
        "rule": None,
        "inputs": {},
        "params": {},
        "source": "",
        "commit": None,
        "packages": {},
        "machine": None,
        "author": author(),
        "started": _now(),
        "finished": _now(),
    }
    return Record(path=path, **digest(path)._asdict(), **{**unknown, **known})


def circumstances(job: Any, *, threads: int, device: str) -> dict[str, Any]:
    """Return what is known of a job's outputs as it starts: a working tree may change meanwhile.

    Args:
        job: Snakemake's object of a script.
        threads: CPU threads that it computes with.
        device: torch device of its nets.
    """
    return {
        "rule": job.rule,
        "inputs": {str(file): sha256_here(file) for file in job.input},
        "params": plain(job.params),
        "source": source_digest(Path(job.scriptdir) / "../.."),
        "commit": git_commit(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": this_machine(threads, device),
        "author": author(),
        "started": _now(),
    }


def record_outputs(job: Any, known: Mapping[str, Any]) -> None:
    """Write the records of a finished job's outputs, and its lineage where it declares `record`.

    Args:
        job: Snakemake's object of a script.
        known: its `circumstances`.
    """
    known = {**known, "finished": _now()}
    lineage_file = getattr(job.output, "record", None)
    for path in map(str, job.output):
        if path != lineage_file and Path(path).is_file():
            write_record(describe_file(path, **known), LOCAL)
    if lineage_file:
        write_lineage(lineage_file, str(job.output[0]))
        write_record(describe_file(lineage_file, **known), LOCAL)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_lineage(path: str | Path, made: str) -> None:
    """Write the records behind the file `made`, raw files first, as one JSON file beside it."""
    records = read_effective()
    chain = [records[file].model_dump(exclude={"snakemake"}) for file in lineage(made, records)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(chain, indent=1) + "\n")


def lineage(path: str, records: Records) -> list[str]:
    """Return the recorded files that `path` was made from and itself, each after its inputs."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    waiting = [(path, False)]
    while waiting:
        name, expanded = waiting.pop()
        if expanded:
            order[name] = None
        elif name in records and name not in entered:
            entered.add(name)
            waiting.append((name, True))
            waiting += [(file, False) for file in sorted(records[name].inputs, reverse=True)]
    return list(order)


def broken_links(record: Record, records: Records) -> list[str]:
    """Return the inputs whose recorded bytes are not the ones that `record` was made from."""
    return [
        file
        for file, sha256 in record.inputs.items()
        if file in records and records[file].sha256 != sha256
    ]


def read_effective() -> dict[str, Record]:
    """Return the records of the working directory: local ones, else shared ones.

    A shared record does not speak for a file that is here with other bytes.
    """
    together = read_records(LOCAL)
    for path, record in read_records(SHARED).items():
        if path not in together and sha256_here(path) in (None, record.sha256):
            together[path] = record
    return together


def read_records(folder: Path) -> dict[str, Record]:
    """Return the records below a folder by the path that each speaks of.

    Raises:
        MeddiffError: a file is no record, or speaks of another path than its own.
    """
    found = {}
    for file in sorted(folder.rglob("*.json")):
        if file.name.startswith("."):
            continue  # being written, or left by a job that was killed
        record = read_record(file)
        expected = file.relative_to(folder).as_posix().removesuffix(".json")
        if record.path != expected or not is_inside(record.path):
            raise MeddiffError(f"{file}: a record of {record.path!r} does not belong there")
        found[record.path] = record
    return found


def recorded_params(path: str) -> dict[str, Any]:
    """Return the parameters that a file was made with, here or by whoever shared it; or none."""
    for folder in (LOCAL, SHARED):
        if (file := folder / f"{path}.json").is_file():
            return read_record(file).params
    return {}


def recorded_sha256(path: str) -> tuple[str, str] | None:
    """Return the SHA-256 that a file had when it was shared or first made here, and where it says.

    What was shared comes first: a collaborator must get the same bytes.
    """
    for folder in (SHARED, LOCAL):
        if (file := folder / f"{path}.json").is_file():
            return read_record(file).sha256, str(file)
    return None


def read_record(file: Path) -> Record:
    """Read one record.

    Raises:
        MeddiffError: the file is too large, no JSON, or no record.
    """
    name = printable(str(file))
    if not file.is_file():
        raise MeddiffError(f"{name}: no file; get it back with git checkout")
    if file.stat().st_size > LARGEST:
        raise MeddiffError(f"{name}: too large for a record; get it back with git checkout")
    try:
        data = json.loads(file.read_bytes())
        seal, found = data.pop("seal", None), _seal(data)
        record = Record.model_validate(data)
        record.model_dump_json()  # what is nested too deep to be written again is refused now
    except ValidationError as error:
        fault = error.errors()[0]
        where = printable(".".join(map(str, fault["loc"]))) or "file"
        raise MeddiffError(
            f"{name}: no valid record ({where}: {fault['msg']}); get it back with git checkout"
        ) from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise MeddiffError(
            f"{name}: no valid record (no JSON object); get it back with git checkout"
        ) from None
    if seal != found:
        raise MeddiffError(
            f"{name}: changed since it was written, or mixed from two by a merge; take it and its "
            "neighbours whole from one side with git checkout"
        )
    return record


def printable(text: str) -> str:
    """Return text from a record or a file's name so that it cannot forge lines on a terminal."""
    return text if text.isprintable() else repr(text)


def write_record(record: Record, folder: Path) -> None:
    """Write a record below `folder`, named after its path, sealed by a digest of itself."""
    data = json.loads(record.model_dump_json())
    with atomic_write(folder / f"{record.path}.json", quiet=True) as temporary:
        temporary.write_text(json.dumps({**data, "seal": _seal(data)}, indent=1) + "\n")


def _seal(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_inside(path: str) -> bool:
    """Tell whether a path stays below the directory that it starts from."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def author() -> str:
    """Return who runs this, as git would sign a commit, or else the login name."""
    try:
        command = ["git", "var", "GIT_AUTHOR_IDENT"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return told.stdout.rsplit(">", 1)[0].strip() + ">"
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a name


def this_machine(threads: int, device: str) -> Machine:
    """Describe the machine that this process runs on."""
    torch = sys.modules.get("torch")
    instructions = torch.backends.cpu.get_cpu_capability() if torch else ""
    gpu = torch.cuda.get_device_name() if torch and device.startswith("cuda") else device
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        instructions=instructions,
        device=gpu,
        threads=threads,
        python=platform.python_version(),
    )


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
