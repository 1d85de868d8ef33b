"""MedNIST (B. J. Erickson, Mayo Clinic): the hand radiographs of the study's section 5.1."""

from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.files import by_stem, check_one_file, is_jpeg
from meddiff.data.sources.tables import join, record_table


def read_mednist_hand(archive: str | Path) -> pd.DataFrame:
    """Read the hand radiographs of MedNIST: `MedNIST/Hand/*.jpeg`, sorted by name, label "hand"."""
    with open_archive(archive) as opened:
        stems = by_stem(name for name in opened.names() if _is_hand(PurePosixPath(name)))
    if not stems:
        raise MeddiffError(f"{archive} holds no MedNIST/Hand/*.jpeg: use the published archive")
    check_one_file(stems, stems.values(), str(archive))
    ids = [f"mednist/{stem}" for stem in stems]
    members = [files[0] for files in stems.values()]
    return join(
        [
            record_table(
                id=ids, edition="mednist", archive=str(archive), member=members, label="hand"
            )
        ]
    )


def _is_hand(path: PurePosixPath) -> bool:
    return path.parent.name == "Hand" and is_jpeg(path)
