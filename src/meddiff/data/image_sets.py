"""Image sets of users: their rows first (ids, labels, groups), then pixels of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.data.preprocessing.files import Oddities, Preprocessing, preprocess_files
from meddiff.data.preprocessing.packing import choose_windows_of_files
from meddiff.data.readers.archive import Group, map_groups, open_archive
from meddiff.data.readers.depth import MissingWindowError, Window, Windows
from meddiff.data.sources.files import image_names

COLUMNS = ("id", "label", "group", "archive", "member")


@dataclass(frozen=True)
class ImageSet:
    """Images with what is known of each: what scores are computed of.

    Attributes:
        images: uint8 (n,h,w,C), C is 1 or 3.
        ids: (n,) unique texts; empty: the images have none.
        labels: (n,) class of each image, or None.
        groups: (n,) patient, lesion or volume of each image, or None where unknown.

    Raises:
        MeddiffError: ids, labels or groups are not as many as images, or an id comes twice.
    """

    images: NDArray[np.uint8]
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("ids", "labels", "groups"):
            values = getattr(self, name)
            if values is None or (name == "ids" and not len(values)):
                continue
            object.__setattr__(self, name, tuple(map(str, values)))
            if len(values) != len(self.images):
                raise MeddiffError(
                    f"{name}: {len(values)} for {len(self.images)} images: give one for each"
                )
        if len(set(self.ids)) < len(self.ids):
            raise MeddiffError("ids: one comes twice: give every image its own")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, places: NDArray[np.intp]) -> "ImageSet":
        """Return the images at these places, in their order."""

        def at(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return values and tuple(values[place] for place in places)

        return ImageSet(self.images[places], at(self.ids) or (), at(self.labels), at(self.groups))


@dataclass(frozen=True)
class Listing:
    """The images of a path before their pixels are read: `list_images`.

    Attributes:
        path: a folder, an archive or a file.
        rows: one row per image, in order: `id` (unique: path below the root, and `#` with the
            number of a slice, a frame or a row of an array), `label` and `group` (`<NA>` where
            unknown), and `archive` and `member`, where the file is.
    """

    path: Path
    rows: pd.DataFrame

    def pixels(
        self, *, crop: int | None, size: int, windows: dict[str, Window] | None = None
    ) -> NDArray[np.uint8]:
        """Return the images, uint8 (n,size,size,C), in the order of the rows.

        Args:
            crop: side of the centred square in px of each file, or None for the largest.
            size: side of the result in px; an .npy is taken as it is.
            windows: of images of more than 8 bits, by type of pixels: those of sets that were read
                before apply here, too, and those of this set are added.

        Raises:
            MeddiffError: an image cannot be read, those of more than 8 bits have another range
                than the windows, or memory is too small for the size.
        """
        if self.path.suffix == ".npy":
            return load_images(self.path)
        windows = {} if windows is None else windows
        how = Preprocessing(crop, size)
        try:
            return self._preprocessed(how, {})
        except MissingWindowError:
            windows |= choose_windows_of_files(self._locations(), windows)
            return self._preprocessed(how, windows)

    def image_set(self, images: NDArray[np.uint8]) -> ImageSet:
        """Return images of these rows with the rows' ids, labels and groups."""
        return ImageSet(images, tuple(self.rows["id"]), self._whole("label"), self._whole("group"))

    def _whole(self, column: str) -> tuple[str, ...] | None:
        """Return a column, or None if a row lacks it."""
        return None if self.rows[column].isna().any() else tuple(self.rows[column])

    def _locations(self) -> list[tuple[str, str]]:
        return list(zip(self.rows["archive"], self.rows["member"], strict=True))

    def _preprocessed(self, how: Preprocessing, windows: Windows) -> NDArray[np.uint8]:
        locations, size = self._locations(), how.size
        try:
            images = np.empty((len(locations), size, size, 3), np.uint8)
        except (MemoryError, ValueError) as error:
            raise MeddiffError(
                f"{self.path} has {len(locations)} images, which at {size} x {size} px need "
                f"{len(locations) * size**2 * 3 / 2**30:,.0f} GiB of memory: lower --size"
            ) from error
        oddities = Oddities()

        def prepare(group: Group) -> tuple[list[int], NDArray[np.uint8]]:
            files = [(data, "{1} in {0}".format(*locations[place])) for place, data in group]
            return [place for place, _ in group], preprocess_files(
                files, how, windows=windows, oddities=oddities
            )

        with Progress(len(locations), f"read {self.path}", "image") as progress:
            for places, pixels in map_groups(prepare, locations):
                images[places] = pixels
                progress.advance(len(places))
        oddities.log(len(locations), size)
        return images


def list_images(path: str | Path) -> Listing:
    """List the images of a folder, a zip, a tar or an .npy, in the order of their names.

    The label is the first folder below the root if every image lies in one; folders that all
    images share do not count if there are several below.

    Raises:
        MeddiffError: there is no such path, or it cannot be listed.
    """
    path = Path(path)
    if path.suffix == ".npy":
        members = [f"{path.name}#{row}" for row in range(len(load_images(path)))]
    else:
        with open_archive(path) as archive:
            members = image_names(archive.names(), path)
    rows = pd.DataFrame({"id": members, "label": labels_of(members), "group": pd.NA,
                         "archive": str(path), "member": members}, dtype="string")  # fmt: skip
    return Listing(path, rows)


def labels_of(names: Sequence[str]) -> list[str | None]:
    """Return the folder that is each image's class, None for all if one lies at the root."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    while folders and all(len(parts) > 1 for parts in folders) and len({p[0] for p in folders}) < 2:
        folders = [parts[1:] for parts in folders]
    if not all(folders):
        return [None] * len(names)
    return [parts[0] for parts in folders]
