"""The one error that a user is meant to read."""

from pathlib import Path


class MeddiffError(Exception):
    """Bad input or a bad environment, in one line: what is wrong, where, and what to do."""


RECORDS = (Path(".snakemake/meddiff/records"), Path("provenance"))
"""Where the records of files lie: of those that were made here, and of shared ones."""


def remedy(path: str | Path, otherwise: str) -> str:
    """Return what mends a file: the workflow makes its own anew, and of others it says `otherwise`.

    Only what the workflow made or downloaded has a record; nothing else is called deletable.
    """
    records = [folder / f"{path}.json" for folder in RECORDS if not Path(path).is_absolute()]
    return "delete it and run again" if any(map(Path.is_file, records)) else otherwise
