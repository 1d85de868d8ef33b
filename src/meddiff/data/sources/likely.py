"""What a table probably means where it names no image: a file's name, lost zeros, other case."""

import re
import unicodedata
from collections.abc import Collection
from decimal import Decimal
from pathlib import PurePosixPath

import pandas as pd

from meddiff.data.sources.files import by_stem, is_image
from meddiff.data.sources.tables import several


def refuse_misnamed(
    named: pd.Series, files: Collection[str], where: str, folder: str, *, paths: bool
) -> None:
    """Refuse rows without an image whose image is there under a name that is nearly theirs.

    Args:
        named: ids, or paths below the folder; the index holds line numbers.
        files: paths of the images below the folder.
        where: name of the table.
        folder: name of the folder.
        paths: whether `named` holds paths.

    Raises:
        MeddiffError: the first such rows with the likely match, and what to write instead.
    """
    known = set(files) if paths else set(by_stem(files))
    written = named.dropna().map(lambda name: _path(name).as_posix()) if paths else named
    lacking = written[~written.isin(known)]
    if lacking.empty:
        return
    alike: dict[str, list[str]] = {}
    for file in files:
        alike.setdefault(_bare(file), []).append(file)
    told = dict(zip(named.index, named, strict=True))
    rows = [(line, told[line], alike.get(_bare(name), [])) for line, name in lacking.items()]
    found = [(line, name, one[0]) for line, name, one in rows if len(one) == 1]
    if not found:
        return
    names = all(name == file for _, name, file in found)
    raise several(
        f"{where} has {len(lacking)} rows without an image in {folder}, but images of nearly the "
        f"same name as {len(found)} of them",
        [f"{name} (row {line}) is perhaps {file}" for line, name, file in found],
        _remedy(str(named.name), paths, names),
    )


def _remedy(column: str, paths: bool, names: bool) -> str:
    if paths:
        return f"write column {column!r} as the files lie below the folder"
    if names:
        return f"the ids are file names, so set data.folder.file_column: {column}"
    return (
        f"write column {column!r} as the files are called, without suffix (spreadsheets drop "
        "zeros in front unless a column is text), or the files' paths in a column of their own, "
        "which data.folder.file_column names"
    )


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _bare(name: str) -> str:
    """Return a name without folder, suffix, case and zeros in front; a number without `.0`.

    Letters with marks are composed: file systems take them apart. `1.00E+05` is a number.
    """
    last = unicodedata.normalize("NFC", _path(name).name).casefold()
    stem = PurePosixPath(last).stem if is_image(last) else last
    if re.fullmatch(r"\d(\.\d+)?e\+\d\d", stem):
        stem = f"{Decimal(stem):f}"
    return stem.removesuffix(".0").lstrip("0") or "0"
