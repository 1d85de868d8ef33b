"""Take published archives from a folder of the user's, without a network."""

import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from meddiff.core.errors import MeddiffError
from meddiff.core.files import atomic_write, file_digests
from meddiff.data.download.verify import Expected, Recorded
from meddiff.data.registry import read_registry
from meddiff.data.settings import ArchivesSettings

AFFECTS_RESULTS = False

log = logging.getLogger(__name__)


class LocalFile(NamedTuple):
    """A file in the user's folder; `stands_in` where it is not the published one itself."""

    path: Path
    stands_in: bool


def find_local(file: str, archives: ArchivesSettings, root: Path) -> LocalFile | None:
    """Return what the folder has of a file of the registry; None where it has nothing of it.

    Raises:
        MeddiffError: the folder does not exist.
    """
    if archives.folder is None:
        return None
    folder = (root / Path(os.path.expandvars(archives.folder)).expanduser()).resolve()
    if not folder.is_dir():
        raise MeddiffError(
            f"data.archives.folder: no such folder: {folder}; check the path (relative "
            "ones start at the project's root)"
        )
    names = {file: False, Path(file).name: False}
    if file in archives.files:
        names = {archives.files[file]: True} | names
    places = (LocalFile(folder / name, stands_in) for name, stands_in in names.items())
    return next((place for place in places if place.path.is_file()), None)


def copy_local(local: LocalFile, file: str, path: str | Path, recorded: Recorded | None) -> None:
    """Copy a file of the registry from the user's folder; it appears only if whole and verified.

    Raises:
        MeddiffError: it has another digest than the published one, of which a file that stands in
            has none, or than the recorded one; or it cannot be read.
    """
    entry = read_registry()[file]
    published = {} if local.stands_in else Expected(entry.md5, entry.sha256).published
    with atomic_write(path) as temporary:
        try:
            shutil.copyfile(local.path, temporary)
        except PermissionError as error:
            raise MeddiffError(f"cannot read {local.path}: make it readable for you") from error
        digests = file_digests(temporary, {"sha256", *published})
        for name, digest in published.items():
            if not digests[name].startswith(digest):
                raise MeddiffError(
                    f"{local.path} has {name} {digests[name]}, not the published {digest}: it is "
                    f"damaged or another file; to use it all the same, name it in "
                    f"data.archives.files as {file}"
                )
        if recorded and digests["sha256"] != recorded.sha256.lower():
            raise MeddiffError(
                f"{local.path} has sha256 {digests['sha256']}, not that of the {file} recorded in "
                f"{recorded.where}: to accept it, move that record away and rerun"
            )
    role = "stands for" if local.stands_in else "is"
    log.info("%s %s %s (sha256 %s)", local.path, role, file, digests["sha256"])
