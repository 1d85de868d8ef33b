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
"""Editions of the ISIC challenge whose images train the DDPMs."""

Count = PositiveInt | Literal["all"]
"""Images that undersampling keeps of a class."""


class PhantomCounts(Settings):
    """Images of one phantom edition."""

    benign: int = Field(default=0, ge=0)
    """Images with target 0."""
    malignant: int = Field(default=0, ge=0)
    """Images with target 1."""


class PhantomSettings(Settings):
    """The simulated data set."""

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
    """Hand radiographs of `phantom_hand`, in the MedNIST layout."""


class ArchivesSettings(Settings):
    """Your own copies of published archives, used instead of downloads."""

    folder: Text | None = None
    """Folder with files as `registry.csv` names them, with or without its folders. Relative paths
    start at the project's root. Published checksums must match."""
    files: dict[Text, Text] = {}
    """Substitutes in that folder for files of `registry.csv`, whatever their checksum: the same
    images at a smaller size, HAM10000's metadata for the tables of 2018, ISIC 2018 Task 1 for the
    training and test images of 2016."""

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
    """CSV or XLSX file with a header and one row per image; null: an image's class is its
    folder, or that in its file (.npz)."""
    id_column: Text = "id"
    """Column with the image's id: its file name without suffix."""
    label_column: Text = "label"
    """Column with the class."""
    diagnosis_column: Text | None = None
    """Column with the diagnosis, where it is finer than the class."""
    labels: dict[Text, ClassName] = {}
    """Class of each value of that column, or folder name, that is not itself a class name, e.g.
    `basal cell: bcc`."""
    patient_column: Text | None = None
    """Column with the patient: all images of a patient stay in one split."""
    lesion_column: Text | None = None
    """Column with the lesion: all images of a lesion stay in one split."""
    file_column: Text | None = None
    """Column with the path below the folder, if it cannot be derived from the id."""
    skip_missing: bool = False
    """Leave out rows of the table without an image in the folder; otherwise they stop the run."""
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
    """`phantom` is simulated here, `kaggle` is the study's ISIC images at 224 px, `isic` the same
    editions at full resolution from the ISIC archive (35 GB), `mednist` is MedNIST's hand
    radiographs, `phantom_hand` is simulated hands, `folder` is your own images."""
    editions: list[Edition] = Field(default=["2018", "2019", "2020"], min_length=1)
    """Editions of `kaggle` and `isic`; the phantom's are those of `phantom.editions`."""
    label_policy: Literal["melanoma", "malignant"] = "melanoma"
    """Diagnoses that count as malignant in these sources: `melanoma` alone, as the study in fact
    did, or melanoma, BCC, SCC and AK, as its text says."""
    mirrors: dict[str, str] = {}
    """Mirrors: the beginning of a published address (`registry.csv`) and its replacement. Checksums
    are the same, so present files are not downloaded again."""
    archives: ArchivesSettings = ArchivesSettings()
    classes: list[ClassName] = Field(default=["benign", "malignant"], min_length=1)
    """Class names. The last one is the positive class of precision, recall and F1. A run of one
    class has no classifiers."""
    grey: bool | None = None
    """Pack one grey channel (ITU-R 601 luma) instead of RGB; null: as in the source; RGB for a
    folder."""
    crop: PositiveInt | None = None
    """Side of the centre crop in px; null: the largest square."""
    size: PositiveInt = 32
    """Side in px of all packed images, after the bilinear resize."""
    decoding: Literal["exact", "fast"] = "exact"
    """`exact` decodes every pixel, as the study did; `fast` decodes JPEGs at a reduced scale, which
    changes single grey levels."""
    near_duplicates: bool = True
    """Search for copies that were re-encoded, rescaled or cropped, by comparing similar images.
    Takes hours where thousands of images are similar, such as radiographs of one body part."""
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
    """How images are split; the rest is the training set."""

    validation: Share = 0.1
    """Share of the validation set."""
    test: Share = 0.15
    """Share of the test set. Under `leak_free` no DDPM or classifier is trained on it."""

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
    """Images kept per class over all splits, or `all`; default: the size of the smallest class."""
