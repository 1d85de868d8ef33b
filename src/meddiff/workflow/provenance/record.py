"""The record of a file: what it was made from, by whom, with what, on which machine."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

LONGEST_NAME = 250


def _check_path(text: str) -> str:
    parts = text.split("/")
    if not text.isprintable() or max(len(part.encode()) for part in parts) > LONGEST_NAME:
        raise ValueError("no file name")
    return text


RunPath = Annotated[str, AfterValidator(_check_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Machine(_Model):
    """Where a job ran: the last digits of its numbers depend on this."""

    system: str
    processor: str
    instructions: str
    """Vector instructions that torch uses on the CPU, e.g. AVX512; empty for jobs without torch."""
    device: str
    """Name of the GPU that the nets ran on, or "cpu"."""
    threads: int
    python: str


class SnakemakeMetadata(TypedDict, total=False):
    """Snakemake's own metadata of a file; all but this key is for Snakemake to check."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    endtime: Annotated[float, Field(ge=0, lt=2**33)] | None


class Record(_Model):
    """What one file was made from. Paths start at the run directory."""

    path: RunPath
    sha256: Sha256
    md5: Md5
    size: Annotated[int, Field(ge=0)]
    rule: str | None
    """None for a file that was added by hand."""
    inputs: dict[RunPath, Sha256]
    params: dict[str, Any]
    """The rule's parameters: its part of the configuration, seed, and digest of its code."""
    source: str
    """SHA-256 over the whole source as the job started."""
    commit: str | None
    packages: dict[str, str]
    machine: Machine | None
    author: str
    started: str
    finished: str
    snakemake: SnakemakeMetadata | None = None
    """Without it Snakemake cannot tell whether an edit concerns the file."""


Records = Mapping[str, Record]
