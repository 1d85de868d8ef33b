"""Suggest the file that a misspelt row means: an added suffix, lost zeros, another case."""

import re
import unicodedata
from collections.abc import Collection
from decimal import Decimal
from pathlib import PurePosixPath

import pandas as pd

from meddiff.core.errors import listing_error
from meddiff.data.sources.files import by_stem, is_image


def check_names(
    named: pd.Series,
    files: Collection[str],
    where: str,
    folder: str,
    *,
    paths: bool,
    configured: bool,
) -> None:
    """Raise if rows without an image have one under nearly the same name.

    Args:
        named: ids, or paths below the folder; the index holds line numbers.
        paths: whether `named` holds paths.
        configured: whether the user may name columns in a configuration.
    """
    names = set(files) if paths else set(by_stem(files))
    written = named.dropna().map(lambda name: _path(name).as_posix()) if paths else named
    lacking = written[~written.isin(names)]
    if lacking.empty:
        return
    alike: dict[str, list[str]] = {}
    for file in files:
        alike.setdefault(_bare(file), []).append(file)
    spelled = named.to_dict()
    rows = [(line, spelled[line], alike.get(_bare(name), [])) for line, name in lacking.items()]
    matches = [(line, name, files[0]) for line, name, files in rows if len(files) == 1]
    if not matches:
        return
    are_file_names = all(name == file for _, name, file in matches)
    raise listing_error(
        f"{where} has {len(lacking)} rows without an image in {folder}, but images of nearly the "
        f"same name as {len(matches)} of them",
        [f"{name} (row {line}) is perhaps {file}" for line, name, file in matches],
        _remedy(str(named.name), paths, are_file_names, configured),
    )


def _remedy(column: str, paths: bool, are_file_names: bool, configured: bool) -> str:
    if paths:
        return f"write column {column!r} as the files lie below the folder"
    if are_file_names and configured:
        return f"the ids are file names, so set data.folder.file_column: {column}"
    where = "of their own, which data.folder.file_column names" if configured else "called path"
    return (
        f"write column {column!r} as the files are called, without suffix (spreadsheets drop "
        f"zeros in front unless a column is text), or the files' paths in a column {where}"
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
