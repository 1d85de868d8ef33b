"""The data registry: every file that is downloaded, where from, and under which licence."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError

TABLE = Path(__file__).with_name("registry.csv")


@dataclass(frozen=True)
class RegistryEntry:
    """One file to download; None where its publisher gives no value.

    Attributes:
        file: its path below `data/raw/published/`.
        address: `https://…` or `kaggle://<owner>/<name>`.
        megabytes: approximate size in MB.
        sha256: published SHA-256, or its first digits if only those are published.
        licence: SPDX name, or who states it.
    """

    file: str
    version: str
    source: str
    role: str
    address: str
    megabytes: float | None
    md5: str | None
    sha256: str | None
    licence: str
    citation: str


@cache
def read_registry() -> dict[str, RegistryEntry]:
    """Return every entry by its file."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["file"]: _entry(row) for row in csv.DictReader(file)}


def registered_files(source: str, version: str | None = None) -> dict[str, str]:
    """Return the files of a source, optionally of one version, by their roles."""
    return {
        entry.role: entry.file
        for entry in read_registry().values()
        if entry.source == source and version in (None, entry.version)
    }


def by_version(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Group files of the registry by version and role, in any folder."""
    files: dict[str, dict[str, str]] = {}
    for path in paths:
        [entry] = [e for e in read_registry().values() if path.endswith(f"/{e.file}")]
        files.setdefault(entry.version, {})[entry.role] = path
    return files


def address_of(file: str, mirrors: Mapping[str, str]) -> str:
    """Return the address to download a file from.

    Args:
        mirrors: from the beginning of published addresses to its replacement; the longest match
            applies.
    """
    if (entry := read_registry().get(file)) is None:
        raise MeddiffError(
            f"{TABLE.name} has no file {file}: name one of {', '.join(read_registry())}"
        )
    matches = [start for start in mirrors if entry.address.startswith(start)]
    start = max(matches, key=len, default="")
    return mirrors[start] + entry.address.removeprefix(start) if start else entry.address


def _entry(row: Mapping[str, str]) -> RegistryEntry:
    fields: dict[str, Any] = {key: value or None for key, value in row.items()}
    megabytes = float(row["megabytes"]) if row["megabytes"] else None
    return RegistryEntry(**fields | {"megabytes": megabytes})
