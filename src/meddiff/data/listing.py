"""Images of users by their rows (ids, labels, groups), before pixels are read at any size."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.progress import Progress
from meddiff.data.image_sets import ImageSet
from meddiff.data.preprocessing.files import (
    Oddities,
    Preprocessing,
    original_files,
    preprocess_files,
)
from meddiff.data.preprocessing.packing import choose_windows_of_files
from meddiff.data.readers.depth import MissingWindowError, Window, Windows
from meddiff.data.readers.members import Group, map_groups, named_files
from meddiff.data.readers.settings import Reading, choose
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.accounting import LISTED
from meddiff.data.sources.folder import read_records

log = logging.getLogger(__name__)

TABLES = (".csv", ".tsv", ".tab", ".xlsx")
"""Suffixes of tables that name images beside them."""


@dataclass(frozen=True)
class Listing:
    """The images of a path before their pixels are read: `list_images`.

    Attributes:
        path: a folder, an archive or a file.
        rows: one row per image, in order: `id` (unique: path below the root, and `#` with the
            number of a slice, a frame or a row of an array), `label` and `group` (`<NA>` where
            unknown), `archive` and `member`, where the file is, and the columns of a table.
        windows: of all images of more than 8 bits, where the user sets one.
    """

    path: Path
    rows: pd.DataFrame
    windows: Windows = field(default_factory=dict)

    def take(self, places: NDArray[np.intp]) -> "Listing":
        """Return the images at these places, in their order."""
        return replace(self, rows=self.rows.iloc[places].reset_index(drop=True))

    def labelled(self) -> "Listing":
        """Return the images that have a label; a warning says how many have none."""
        without = self.rows["label"].isna()
        if without.any():
            log.warning(
                "%s: %d of %d images have no label and are left out: %s", self.path, without.sum(),
                len(without), first_names(list(self.rows["id"][without])),
            )  # fmt: skip
        return self.take(np.flatnonzero(~without))

    def unlabelled(self) -> "Listing":
        """Return all images without their labels."""
        return replace(
            self, rows=self.rows.assign(label=pd.array([pd.NA] * len(self.rows), "string"))
        )

    def pixels(
        self,
        *,
        crop: int | None,
        size: int,
        grey: bool = False,
        windows: dict[str, Window] | None = None,
    ) -> NDArray[np.uint8]:
        """Return the images, uint8 (n,size,size,C), in the order of the rows.

        Args:
            crop: side of the centred square in px of each file, or None for the largest.
            size: side of the result in px; an .npy is taken as it is.
            grey: of files, one grey channel by ITU-R 601 luma instead of RGB.
            windows: of images of more than 8 bits, by type of pixels: those of sets that were read
                before apply here, too, and those of this set are added.

        Raises:
            MeddiffError: an image cannot be read, those of more than 8 bits have another range
                than the windows, or memory is too small for the size.
        """
        if self.path.suffix == ".npy":
            images = load_images(self.path)
            return images if len(self.rows) == len(images) else images[self._numbers()]
        windows = {} if windows is None else windows
        how = Preprocessing(crop, size, grey)
        try:
            return self._preprocessed(how, self.windows)
        except MissingWindowError:
            windows |= choose_windows_of_files(self._locations(), windows)
            return self._preprocessed(how, windows)

    def originals(
        self,
        places: Sequence[int] | None = None,
        *,
        crop: int | None,
        whole: bool = False,
        windows: dict[str, Window] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (place of its row, image at its own size, uint8 (h,w,C)), in the order of reading.

        A few images are in memory at a time. Otherwise as `pixels`.

        Args:
            places: of the rows that are read, else all.
            whole: leave images as they are where there is no `crop`.
        """
        chosen = range(len(self.rows)) if places is None else places
        if self.path.suffix == ".npy":
            images, numbers = load_images(self.path), self._numbers()
            yield from ((place, images[numbers[place]]) for place in chosen)
            return
        windows = {} if windows is None else windows
        locations = self._locations()
        wanted = [locations[place] for place in chosen]

        def decode(files: list[tuple[bytes, str]]) -> list[NDArray[np.uint8]]:
            both = {**windows, **self.windows}
            return list(original_files(files, crop=crop, whole=whole, windows=both))

        def read(group: Group) -> list[tuple[int, NDArray[np.uint8]]]:
            files = named_files(group, wanted)
            try:
                images = decode(files)
            except MissingWindowError:
                windows.update(choose_windows_of_files(locations, windows))
                images = decode(files)
            return [(chosen[place], each) for (place, _), each in zip(group, images, strict=True)]

        for images_of_group in map_groups(read, wanted):
            yield from images_of_group

    def image_set(self, images: NDArray[np.uint8]) -> ImageSet:
        """Return images of these rows with the rows' ids, labels and groups.

        Where others have one, images without a label are left out, and those without a group stand
        alone; a warning says how many.
        """
        labels, groups = (self.rows[name] for name in ("label", "group"))
        if labels.isna().any() and labels.notna().any():
            kept = labels.notna().to_numpy(bool)
            return self.labelled().image_set(images[kept])
        if groups.isna().any() and groups.notna().any():
            log.warning(
                "%s: %d of %d images have no patient, lesion or volume: each is taken as alone",
                self.path, groups.isna().sum(), len(groups),
            )  # fmt: skip
        return ImageSet(
            images,
            tuple(self.rows["id"]),
            tuple(labels) if labels.notna().any() else None,
            tuple(groups) if groups.notna().any() else None,
        )

    def _numbers(self) -> NDArray[np.intp]:
        """Return the number of each row's image in an .npy."""
        return self.rows["member"].str.rsplit("#", n=1).str[-1].to_numpy(np.intp)

    def _locations(self) -> list[tuple[str, str]]:
        return list(zip(self.rows["archive"], self.rows["member"], strict=True))

    def _preprocessed(self, how: Preprocessing, windows: Windows) -> NDArray[np.uint8]:
        locations, size = self._locations(), how.size
        try:
            shape = (len(locations), size, size, 1 if how.grey else 3)
            images = np.empty(shape, np.uint8)
        except (MemoryError, ValueError) as error:
            raise MeddiffError(
                f"{self.path} has {len(locations)} images, which at {size} x {size} px need "
                f"{len(locations) * size**2 * shape[-1] / 2**30:,.0f} GiB of memory: lower --size"
            ) from error
        oddities = Oddities()

        def prepare(group: Group) -> tuple[list[int], NDArray[np.uint8]]:
            files = named_files(group, locations)
            pixels = preprocess_files(files, how, windows=windows, oddities=oddities)
            return [place for place, _ in group], pixels

        with Progress(len(locations), f"read {self.path}", "image") as progress:
            for places, pixels in map_groups(prepare, locations):
                images[places] = pixels
                progress.advance(len(places))
        oddities.log(len(locations), size)
        return images


def list_images(path: str | Path, reading: Reading | None = None, **choices: Any) -> Listing:
    """List the images of a path, in the order of their names, or of the rows of a table.

    Args:
        path: a folder, a zip, a tar, an .npy, one file of many images (DICOM, NIfTI, .npz), or a
            table (.csv, .tsv, .xlsx) beside its images, whose columns have their usual names
            (`meddiff.data.sources.columns`); HAM10000's folder is read by its table.
        reading: choices for windows, volumes and patients.
        choices: the same one by one: `window`, `percentiles`, `slices`, `plane`, `patient_pattern`
            of `meddiff.data.readers.settings.Reading`.

    Raises:
        MeddiffError: there is no such path, it cannot be listed, or a choice is unknown.
    """
    path, reading = Path(path), choose(**choices) if reading is None else reading
    if path.suffix == ".npy":
        members = [f"{path.name}#{row}" for row in range(len(load_images(path)))]
        rows = pd.DataFrame({"id": members, "label": pd.NA, "group": pd.NA, "archive": str(path),
                             "member": members}, dtype="string")  # fmt: skip
        return Listing(path, rows)
    if not path.exists():
        raise MeddiffError(f"no such file or folder: {path}; check the path")
    paths = {"images": str(path)}
    if path.suffix.lower() in TABLES:
        paths = {"images": str(path.parent), "table": str(path)}
    records = read_records(FolderSettings(**reading.model_dump()), None, paths)
    if LISTED in records:
        here = records[LISTED].notna() & records["member"].notna()
        records = records[here].drop(columns=LISTED).reset_index(drop=True)
    group = records["patient"].fillna(records["lesion"])
    return Listing(path, records.assign(group=group), reading.windows)
