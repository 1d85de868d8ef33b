"""Images of a folder that are the same photograph: `meddiff.find_duplicates`."""

from pathlib import Path

import pandas as pd

from meddiff.core.progress import Progress
from meddiff.data.duplicates import search
from meddiff.data.index import build_index
from meddiff.data.readers.archive import open_archive
from meddiff.data.readers.members import list_members
from meddiff.data.readers.settings import Reading
from meddiff.data.sources.files import image_files
from meddiff.data.sources.tables import record_table


def find_duplicates(folder: str | Path, *, workers: int = 1) -> pd.DataFrame:
    """Return the pairs of images that are the same photograph.

    Found are equal files, equal pixels, and images re-encoded, rescaled, cropped by up to 4 % or
    changed in brightness, contrast or colour; not those that are mirrored or turned. n equal images
    give n - 1 pairs.

    Args:
        folder: a folder with all that is below it, a zip or a tar.
        workers: threads; they never change the result.

    Returns:
        One row per pair, in the order of names: `first` and `second` (paths below the folder),
        `kind` ("bytes", "pixels" or "near"), and `similarity` in [-1, 1], the correlation of the
        registered grey images, 1 for equal pixels.

    Raises:
        MeddiffError: there is no such folder, or an image cannot be read.
    """
    with open_archive(folder) as archive:
        files = image_files(archive)
    names = list(list_members(folder, files, Reading())["member"])
    records = record_table(
        id=names, edition="folder", image=names, archive=str(folder), member=names, label="image"
    )
    with Progress(len(names), f"read {folder}", "image") as progress:
        index = build_index(records, workers=workers, progress=progress.advance)
    with Progress(len(names), f"compare {folder}", "image") as progress:
        links = search.search_index(index, workers=workers, progress=progress.advance).links
    columns = links[["first", "second", "kind"]]
    return columns.assign(similarity=links["correlation"].fillna(1.0))
