"""Images by their places: (archive, member), listed with class and group, and mapped in one pass.

A member is a file's name, or `<file>#<key>` for an image of a file that holds several.
"""

import io
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

import pandas as pd

from meddiff.core.errors import listing_error
from meddiff.core.progress import Progress
from meddiff.data.readers.archive import Archive, is_one_file, open_archive
from meddiff.data.readers.dicom import START
from meddiff.data.readers.formats import Reader, may_be_dicom, read_frames, reader_of
from meddiff.data.readers.settings import Reading

MAX_GROUP = 16
"""Largest number of members that a thread processes at once…"""
MAX_GROUP_BYTES = 2**18
"""…and the total size that ends such a group earlier."""

R = TypeVar("R")
Group = list[tuple[int, bytes]]
"""Positions of members in the requested order, and their bytes."""


def list_members(path: str | Path, names: Sequence[str], reading: Reading) -> pd.DataFrame:
    """List the images of files of an archive, in the order of the names.

    Pictures are not opened; of other formats headers are read.

    Returns:
        Text columns `member` (unique), `file`, and `label` and `group` as the file has them, else
        `<NA>`.

    Raises:
        MeddiffError: a file is damaged, has no images, or is read by an extra that is missing.
    """
    rows: dict[str, list[tuple[str, str, str | None, str | None]]] = {}
    unlike = [name for name in names if reader_of(name) is not None or may_be_dicom(name)]
    with open_archive(path) as archive, Progress(len(unlike), f"list {path}", "file") as progress:
        for name in archive.in_order(unlike):
            reader, file = _opened(archive, name)
            with file:
                if reader is not None:
                    entries = reader.entries(file, _where(archive, name), reading)
                    rows[name] = [
                        (_member(name, e.key), name, e.label, name if e.group == "" else e.group)
                        for e in entries
                    ]
            progress.advance()
    if empty := sorted(name for name, images in rows.items() if not images):
        raise listing_error(
            f"{path}: {len(empty)} files have no images (DICOM reports and plans have none)",
            empty,
            "move them out of the data",
        )
    plain = ((name, name, None, None) for name in names)
    listed = [row for one in plain for row in rows.get(one[0], [one])]
    return pd.DataFrame(listed, columns=["member", "file", "label", "group"], dtype="string")


def _member(name: str, key: str) -> str:
    return f"{name}#{key}" if key else name


def named_files(group: Group, locations: Sequence[tuple[str, str]]) -> list[tuple[bytes, str]]:
    """Return the bytes of a group's members, and how errors name each."""
    return [(data, "{1} in {0}".format(*locations[position])) for position, data in group]


def map_members(
    function: Callable[[int, bytes], R], locations: Sequence[tuple[str, str]], workers: int = 1
) -> Iterator[R]:
    """Yield `function(position, data)` for the bytes of each (archive, member) in `locations`.

    Each archive is read once, front to back, and results come in its order. Only a few members are
    in memory at a time.
    """

    def each(group: Group) -> list[R]:
        return [function(position, data) for position, data in group]

    for results in map_groups(each, locations, workers):
        yield from results


def map_groups(
    function: Callable[[Group], R], locations: Sequence[tuple[str, str]], workers: int = 1
) -> Iterator[R]:
    """Yield `function` of groups of neighbouring members; otherwise as `map_members`."""
    largest = min(MAX_GROUP, len(locations) // (64 * workers))
    groups = enumerate(_grouped(_read_each(locations), largest))
    reading = Lock()

    def step() -> tuple[int, R] | None:
        # The threads read, too: passing on each file's bytes would take as long as processing them.
        with reading:
            taken = next(groups, None)
        return None if taken is None else (taken[0], function(taken[1]))

    early: dict[int, R] = {}
    following = 0
    with ThreadPoolExecutor(workers) as pool:
        steps = deque(pool.submit(step) for _ in range(2 * workers + 1))
        while steps:
            if (done := steps.popleft().result()) is None:
                continue
            early[done[0]] = done[1]
            while following in early:
                yield early.pop(following)
                following += 1
            steps.append(pool.submit(step))


def _grouped(members: Iterator[tuple[int, bytes]], largest: int) -> Iterator[Group]:
    """Group small members: dispatching each alone would take as long as processing it."""
    group: Group = []
    size = 0
    for position, data in members:
        group.append((position, data))
        size += len(data)
        if len(group) >= largest or size >= MAX_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _read_each(locations: Sequence[tuple[str, str]]) -> Iterator[tuple[int, bytes]]:
    positions: dict[str, dict[str, list[int]]] = {}
    for position, (path, member) in enumerate(locations):
        positions.setdefault(path, {}).setdefault(member, []).append(position)
    for path, places in positions.items():
        with open_archive(path) as archive:
            for member, data in _images(archive, places):
                for position in places[member]:
                    yield position, data


def _images(archive: Archive, members: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield members and their images, file by file in the archive's order."""
    keys: dict[str, list[str]] = {}
    for member in members:
        name, _, key = (member, "", "") if member in archive else member.rpartition("#")
        keys.setdefault(name or member, []).append(key)
    for name in archive.in_order(keys):
        if reader_of(name) is None and not may_be_dicom(name):
            yield name, archive.read(name)
            continue
        reader, file = _opened(archive, name)
        with file:
            if reader is None:
                yield name, file.read()
                continue
            for key, data in read_frames(reader, file, _where(archive, name), keys[name]):
                yield _member(name, key), data


def _opened(archive: Archive, name: str) -> tuple[Reader | None, BinaryIO]:
    """Open a file with its reader: by its name, or by its content where that says nothing.

    Read once and front to back, since going back in a compressed tar reads it from its start.
    """
    if (reader := reader_of(name)) is not None:
        return reader, archive.open(name)
    data = archive.read(name)
    return reader_of(name, data[:START]), io.BytesIO(data)


def _where(archive: Archive, name: str) -> str:
    return str(archive.path) if is_one_file(archive.path) else f"{name} in {archive.path}"
