"""Snakemake's own metadata of files in the run directory, through its persistence class."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error

NOTES = Path(".snakemake")
"""Where Snakemake keeps what it remembers of a run."""


class MetadataStore:
    """Reads and writes what Snakemake remembers of each file.

    Snakemake's public methods record running jobs only. What sets the metadata of a file without a
    job are the methods that every backend implements, whose names begin with an underscore. Here is
    the only place that calls them; they are one reason for the pin snakemake>=9.27,<10.
    """

    @cached_property
    def _backend(self) -> Any:
        return FilePersistence()

    def read(self, path: str) -> dict[str, Any] | None:
        """Return Snakemake's metadata of a file; None without any, or where they are unreadable."""
        if not NOTES.is_dir():
            return None
        try:
            record = self._backend._read_record(path)
        except (OSError, ValueError):
            return None
        return dict(record.items()) if record else None

    def write(self, path: str, metadata: Mapping[str, Any]) -> None:
        """Let Snakemake remember this of a file."""
        try:
            record = MetadataRecord.model_validate(metadata)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("snakemake", *first["loc"])))
            raise MeddiffError(
                f"provenance/{path}.json: no valid record ({key}: {first['msg']}); get it back "
                "with git checkout"
            ) from None
        if self.read(path) != dict(record.items()):
            try:
                self._backend._write_record(path, record)
            except PermissionError as error:
                raise permission_error(error) or error from None
            self._backend._clear_cache()

    def force_rerun(self, path: str, reason: str) -> None:
        """Let Snakemake plan a file: no rule has this parameter, which Snakemake shows."""
        params = [f"<{reason}>"]
        self.write(path, {"params": params, "record_format_version": RECORD_FORMAT_VERSION})

    def is_incomplete(self, path: str) -> bool:
        """Return whether a job makes a file now, or was killed while it did."""
        return NOTES.is_dir() and bool(self._backend._filter_incomplete_keys([path]))
