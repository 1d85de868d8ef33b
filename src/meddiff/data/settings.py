"""Settings of raw data, splits and image sets."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from meddiff.core.settings import ClassName, Fraction, Settings, Share, Text, as_text, number_or
from meddiff.data.catalogue import SOURCES, SourceName
from meddiff.data.readers.settings import Reading
from meddiff.data.registry import read_registry

Edition = Annotated[Literal["2018", "2019", "2020"], BeforeValidator(as_text)]
"""Editions of the ISIC challenge whose images the DDPMs learn from."""

Count = PositiveInt | Literal["all"]
"""Images that undersampling keeps of a class."""


class PhantomCounts(Settings):
    """Images of one phantom edition."""

    benign: int = Field(default=0, ge=0)
    """Images with target 0."""
    malignant: int = Field(default=0, ge=0)
    """Images with target 1."""


class PhantomSettings(Settings):
    """The data set that the workflow draws itself."""

    editions: dict[Edition, PhantomCounts] = {
        "2018": PhantomCounts(benign=350, malignant=200),
        "2019": PhantomCounts(benign=500, malignant=300),
        "2020": PhantomCounts(benign=350, malignant=200),
    }
    """Images per edition and class, duplicates included."""
    exact_duplicates: Fraction = 0.05
    """Share of images that repeat the bytes of an earlier edition."""
    near_duplicates: Fraction = 0.03
    """Share of images that repeat an earlier image re-encoded, rescaled or slightly cropped."""
    segmentation_train: PositiveInt = 240
    """ISIC 2016 training images, each with a mask."""
    segmentation_test: PositiveInt = 60
    """ISIC 2016 test images, each with a mask."""
    hands: PositiveInt = 300
    """Hand radiographs in the MedNIST layout, of `phantom_hand`."""


class ArchivesSettings(Settings):
    """Your own copies of published archives: what is there is copied, not downloaded."""

    folder: Text | None = None
    """Folder with files as `registry.csv` names them, with or without its folders. Relative paths
    start at the project's root. Published checksums must hold."""
    files: dict[Text, Text] = {}
    """What else in that folder stands for a file of `registry.csv`, whatever its checksum: the
    same images at a smaller size, HAM10000's metadata for the tables of 2018, ISIC 2018 Task 1 for
    the training and the test images of 2016."""

    @field_validator("files")
    @classmethod
    def _are_registered(cls, files: dict[str, str]) -> dict[str, str]:
        for file in files:
            if file not in read_registry():
                near = get_close_matches(file, read_registry(), n=1, cutoff=0)
                raise ValueError(f"{file} is no file of registry.csv; did you mean {near[0]}?")
        return files


class FolderSettings(Reading):
    """Your own images: a folder per class, or a folder and a table with one row per image."""

    name: ClassName = "folder"
    """Name of the data set, stated in every table."""
    images: Text = ""
    """Folder that holds the images, at any depth, an archive of them, or one file of many images.
    Relative paths start at the project's root."""
    table: Text | None = None
    """CSV or XLSX file with a header and one row per image; null: an image's class is the folder
    that it lies in, or as its file says (.npz)."""
    id_column: Text = "id"
    """Column with the image's id: its file name without suffix."""
    label_column: Text = "label"
    """Column with the class."""
    diagnosis_column: Text | None = None
    """Column with the diagnosis, where it is finer than the class."""
    labels: dict[Text, ClassName] = {}
    """Class of each value of that column, or name of a folder, that is no class name itself, e.g.
    `basal cell: bcc`."""
    patient_column: Text | None = None
    """Column with the patient: all images of a patient stay in one split."""
    lesion_column: Text | None = None
    """Column with the lesion: all images of a lesion stay in one split."""
    file_column: Text | None = None
    """Column with the path below the folder, where it does not follow from the id."""
    skip_missing: bool = False
    """Leave out rows of the table whose image is not in the folder; else they stop the run."""
    masks: Text | None = None
    """Folder with lesion masks: `<id>.png`, `<id>_segmentation.png` or `<id>_mask.png`, endings in
    any case. The U-Net needs them."""

    def paths(self, root: Path) -> dict[str, str]:
        """Return where images, table and, if there are any, masks are, as seen from here."""
        settings = {"images": self.images, "table": self.table, "masks": self.masks}
        return {
            key: os.path.relpath(root / Path(os.path.expandvars(path)).expanduser())
            for key, path in settings.items()
            if path
        }


class DataSettings(Settings):
    """Where images come from and how they are prepared."""

    source: SourceName = "phantom"
    """`phantom` is drawn here, `kaggle` is the study's ISIC images at 224 px, `isic` is the same
    editions at full resolution from the ISIC archive (35 GB), `mednist` is MedNIST's hand
    radiographs, `phantom_hand` is such hands drawn here, `folder` is yours."""
    editions: list[Edition] = Field(default=["2018", "2019", "2020"], min_length=1)
    """Editions of `kaggle` and `isic`; the phantom's are those of `phantom.editions`."""
    label_policy: Literal["melanoma", "malignant"] = "melanoma"
    """Diagnoses that make an image of these sources malignant: `melanoma` alone, as the study in
    fact did, or melanoma, BCC, SCC and AK, as its text says."""
    mirrors: dict[str, str] = {}
    """Addresses to use instead: the beginning of a published address (`registry.csv`) and what
    stands in its place. Checksums are the same, so nothing that is here is fetched again."""
    archives: ArchivesSettings = ArchivesSettings()
    classes: list[ClassName] = Field(default=["benign", "malignant"], min_length=1)
    """Class names. The last one is the positive class of precision, recall and F1. A run of one
    class has no classifiers."""
    grey: bool | None = None
    """Pack one grey channel (ITU-R 601 luma) instead of RGB; null: as the source is, a folder in
    RGB."""
    crop: PositiveInt | None = None
    """Side of the centre crop in px; null takes the largest square."""
    size: PositiveInt = 32
    """Side in px after the bilinear resize; every net works at this size."""
    decoding: Literal["exact", "fast"] = "exact"
    """`exact` decodes every pixel, as the study did; `fast` decodes JPEGs at a reduced scale, which
    changes a grey level here and there."""
    near_duplicates: bool = True
    """Compare the pixels of images that look alike to find copies that were encoded, scaled or
    cropped anew. Takes hours where thousands of images look alike, as radiographs of one part of
    the body do."""
    phantom: PhantomSettings = PhantomSettings()
    folder: FolderSettings = FolderSettings()

    @property
    def is_grey(self) -> bool:
        """Whether images are packed with one channel."""
        return SOURCES[self.source].grey if self.grey is None else self.grey

    @model_validator(mode="after")
    def _source_is_whole(self) -> "DataSettings":
        if self.source == "folder" and not self.folder.images:
            raise ValueError(
                "source: folder needs data.folder.images (a folder), and data.folder.table (a CSV "
                "or XLSX) unless its folders are the classes"
            )
        for name in ("classes", "editions"):
            if len(set(values := getattr(self, name))) != len(values):
                raise ValueError(f"{name} repeat: {values}")
        return self


class SplitSettings(Settings):
    """How images are divided; what remains is the training set."""

    validation: Share = 0.1
    """Share of the validation set."""
    test: Share = 0.15
    """Share of the test set, no DDPM or classifier of `leak_free` learns from it."""

    @model_validator(mode="after")
    def _something_remains(self) -> "SplitSettings":
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test = {self.validation + self.test:g} leaves no training images"
            )
        return self


class UndersampleSettings(Settings):
    """Random undersampling, which cuts every class to the size of the smallest; `none` in place of
    this section keeps all images."""

    counts: dict[
        ClassName, Annotated[Count, BeforeValidator(number_or("all", "a number of images"))]
    ] = {}
    """Images kept of a class over all splits, or `all`, where not the size of the smallest
    class."""
