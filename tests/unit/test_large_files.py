"""Many large files of every format: each is read, reduced and released."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from hospital import dicom, saved

SIDE = 2000
FEW, MANY = 4, 24
PEAK = """
import resource, sys
from meddiff.data.listing import list_images
from meddiff.data.index import build_index
from meddiff.data.readers.settings import Reading
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.folder import read_folder
from meddiff.evaluation.own_size import Framing, features_at_own_size, paired_images
from meddiff.extractors.extractor import Extractor
from torch import nn

class Means(nn.Module):
    side, dimension = 32, 3
    def transform(self, images):
        return nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), (32, 32))
    def features(self, batch):
        return batch.mean((2, 3))
folder, step = sys.argv[1:]
if step != "index":
    sets = dict.fromkeys(("real", "synthetic"), list_images(folder, Reading(slices=1)))
    small = dict.fromkeys(sets, sets["real"].pixels(crop=None, size=32))
    if step == "pairs":
        paired_images(sets, small, Framing(None, whole=(), windows={}), most=None, seed=0)
    if step == "features":
        net = Extractor("net", Means(), None, "", "")
        framing = Framing(None, whole=("net",), windows={})
        features_at_own_size(sets, small, net, "net", framing, seed=0)
else:
    records = read_folder(FolderSettings(images=folder, slices=1), ["x"])
    build_index(records, workers=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write_dicom(path: Path, levels: np.ndarray) -> None:
    saved(path.with_suffix(".dcm"), dicom(levels))


def write_tiff(path: Path, levels: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), levels)


def write_nifti(path: Path, levels: np.ndarray) -> None:
    volume = nibabel.Nifti1Image(levels.reshape(200, 200, 100), np.eye(4))
    volume.to_filename(path.with_suffix(".nii.gz"))


def write_npz(path: Path, levels: np.ndarray) -> None:
    np.savez(path.with_suffix(".npz"), levels.reshape(16, 500, 500))


def peak(folder: Path, step: str) -> int:
    """Largest memory of a process that reads a folder, MiB."""
    run = subprocess.run([sys.executable, "-c", PEAK, str(folder), step], capture_output=True,
                         text=True, check=True)  # fmt: skip
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "step"),
    [*product((write_dicom, write_tiff, write_nifti, write_npz), ("evaluate", "index")),
     (write_tiff, "pairs"), (write_tiff, "features")],
)  # fmt: skip
def test_memory_does_not_grow_with_their_number(
    tmp_path: Path, write: Callable[[Path, np.ndarray], None], step: str
) -> None:
    """Files of 8 MB: all at once would take 160 MB more."""
    levels = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)
    write(tmp_path / "x", levels)
    [file] = tmp_path.iterdir()
    peaks = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            os.link(file, folder / f"{number}{file.name}")
        peaks.append(peak(folder, step))
    size = file.stat().st_size / 2**20
    assert peaks[1] - peaks[0] < (MANY - FEW) * min(size, 7) / 3, peaks
