"""NIfTI volumes written by nibabel: orientation, slices, windows, faults."""

import gzip
import sys
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from meddiff.core.errors import MeddiffError
from meddiff.data.listing import list_images
from meddiff.data.readers.settings import Reading

LPS = axcodes2ornt(("L", "P", "S"))
SIDE = 6
CODES = [
    "".join(pair[flip] for pair, flip in zip(axes, flips, strict=True))
    for axes in permutations(("LR", "AP", "IS"))
    for flips in product((0, 1), repeat=3)
]
"""All 48 orientations of a volume."""


def saved(path: Path, voxels: np.ndarray, codes: str = "LPS", **header: Any) -> Path:
    """Write a volume whose voxels are as in `voxels` if turned to LPS, stored in another way."""
    turn = ornt_transform(LPS, axcodes2ornt(tuple(codes)))
    stored = apply_orientation(voxels, turn)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ inv_ornt_aff(turn, voxels.shape[:3])
    kind = header.pop("kind", nibabel.Nifti1Image)
    image = kind(np.ascontiguousarray(stored), affine)
    if header:
        image.header.set_slope_inter(header["slope"], header["inter"])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def read(path: Path, **choices: Any) -> np.ndarray:
    return list_images(path, Reading(**choices)).pixels(crop=None, size=SIDE)[..., 0]


def cube(dtype: type = np.int16) -> np.ndarray:
    """Voxels (x to the left, y to the back, z up), all of another level."""
    return np.arange(SIDE**3).reshape(SIDE, SIDE, SIDE).astype(dtype)


@pytest.mark.parametrize("codes", CODES)
def test_every_orientation_looks_alike(tmp_path: Path, codes: str) -> None:
    voxels = cube()
    path = saved(tmp_path / "v.nii", voxels, codes)
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == codes
    window = (0, 255)
    expected = {
        "axial": [voxels[:, :, z].T for z in range(SIDE)],  # rows to the back, columns to the left
        "coronal": [voxels[:, y, ::-1].T for y in range(SIDE)],  # rows down
        "sagittal": [voxels[x, :, ::-1].T for x in range(SIDE)],
    }
    # All planes of some: the turning is one for all.
    for plane, slices in list(expected.items())[: 3 if codes in CODES[::7] else 1]:
        images = read(tmp_path, window=window, slices=1, plane=plane)
        np.testing.assert_array_equal(images, slices)
    assert len(read(tmp_path)) == 1


def test_slices_have_their_volume_as_group(tmp_path: Path) -> None:
    saved(tmp_path / "sub-1/a.nii.gz", cube())
    saved(tmp_path / "sub-2/b.nii", cube(np.uint8), kind=nibabel.Nifti2Image)
    rows = list_images(tmp_path, Reading(slices=4)).rows
    assert rows["id"].tolist() == ["sub-1/a.nii.gz#axial-0", "sub-1/a.nii.gz#axial-4",
                                   "sub-2/b.nii#axial-0", "sub-2/b.nii#axial-4"]  # fmt: skip
    assert rows["group"].tolist() == ["sub-1/a.nii.gz"] * 2 + ["sub-2/b.nii"] * 2
    assert rows["label"].tolist() == ["sub-1"] * 2 + ["sub-2"] * 2
    assert list_images(tmp_path).rows["member"].tolist()[0] == "sub-1/a.nii.gz#axial-3"
    rows = list_images(tmp_path, Reading(patient_pattern=r"sub-\d")).rows
    assert rows["group"].tolist() == ["sub-1", "sub-2"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_window_is_that_of_the_volume(tmp_path: Path, dtype: type) -> None:
    voxels = cube(dtype)
    saved(tmp_path / "v.nii.gz", voxels)
    low, high = np.percentile(voxels, [0.5, 99.5])
    greys = (255 * (voxels.astype(float) - low) / (high - low)).clip(0, 255)
    images = read(tmp_path, slices=1)
    np.testing.assert_allclose(images, greys.transpose(2, 1, 0), atol=0.51)
    low, high = np.percentile(voxels, [10, 80])
    greys = np.floor((voxels.astype(float) - low) * 256 / (high - low)).clip(0, 255)
    images = read(tmp_path, slices=1, percentiles=(10, 80))
    np.testing.assert_allclose(images, greys.transpose(2, 1, 0), atol=1)


def test_slope_and_intercept(tmp_path: Path) -> None:
    saved(tmp_path / "v.nii", cube(), slope=2.5, inter=-100.0)
    levels = np.asarray(nibabel.load(tmp_path / "v.nii").dataobj)
    greys = np.floor((levels + 50) * 256 / 300).clip(0, 255)
    images = read(tmp_path, slices=1, window=(-50, 250))
    np.testing.assert_array_equal(images, greys.transpose(2, 1, 0))


def test_of_several_volumes_the_first(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.stack([cube(), cube() + 20], axis=-1), np.diag([-1, -1, 1, 1]))
    image.to_filename(tmp_path / "v.nii")
    np.testing.assert_array_equal(read(tmp_path, window=(0, 255))[0], cube()[:, :, 3].T)


def test_one_file_is_a_set(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.nii.gz", cube())
    assert read(path, slices=2, window=(0, 255)).shape == (3, SIDE, SIDE)


class TestFaults:
    def fails(self, path: Path, message: str) -> None:
        with pytest.raises(MeddiffError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, tmp_path: Path, value: float) -> None:
        voxels = cube(np.float32)
        voxels[0, 0, 0] = value
        saved(tmp_path / "v.nii.gz", voxels)
        self.fails(tmp_path, r"v\.nii\.gz in .*NaN.*nan_to_num")

    @pytest.mark.parametrize("kept", [0, 1, 100, 347, 400, -1])
    @pytest.mark.parametrize("end", [".nii", ".nii.gz"])
    def test_truncated(self, tmp_path: Path, kept: int, end: str) -> None:
        path = saved(tmp_path / f"v{end}", cube())
        path.write_bytes(path.read_bytes()[: kept if end == ".nii" or kept < 0 else kept // 2])
        self.fails(tmp_path, r"v\.nii")

    def test_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "v.nii").write_text("id,label\n" * 100)
        self.fails(tmp_path, r"v\.nii .*no NIfTI header")

    def test_types_that_are_no_levels(self, tmp_path: Path) -> None:
        nibabel.Nifti1Image(cube(np.complex64), np.eye(4)).to_filename(tmp_path / "v.nii")
        self.fails(tmp_path, r"v\.nii .*complex64")

    def test_no_orientation(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(cube(), None)
        image.header["sform_code"] = 1
        image.to_filename(tmp_path / "v.nii")
        data = bytearray((tmp_path / "v.nii").read_bytes())
        data[254:256] = (1).to_bytes(2, "little")  # sform_code, with a matrix of zeros
        data[280:328] = bytes(48)
        (tmp_path / "v.nii").write_bytes(data)
        self.fails(tmp_path, r"v\.nii .*orientation")

    def test_a_bomb(self, tmp_path: Path) -> None:
        header = nibabel.Nifti1Header()
        header.set_data_shape((30_000, 30_000, 30_000))
        header.set_data_dtype(np.int16)
        header["magic"], header["vox_offset"] = b"n+1", 352
        with gzip.open(tmp_path / "v.nii.gz", "wb") as file:
            file.write(header.binaryblock + bytes(4 + 10**7))
        self.fails(tmp_path, r"v\.nii\.gz .*30000 x 30000 x 30000")

    def test_missing_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        saved(tmp_path / "v.nii", cube())
        monkeypatch.setitem(sys.modules, "nibabel", None)
        self.fails(tmp_path, r"v\.nii .*pip install 'meddiff\[nifti\]'")
