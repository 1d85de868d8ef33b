"""Packed arrays hold what torchvision would make of each image, in the records' order."""

import errno
import hashlib
import io
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meddiff.arrays import load_images
from meddiff.data.imageset import pack, preprocess, preprocess_mask
from meddiff.data.index import build_index, read_table
from meddiff.data.sources import COLUMNS
from meddiff.errors import MeddiffError


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw random smooth colours, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def archive_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def index_of(
    path: Path, images: list[np.ndarray], masks: list[np.ndarray] | None = None
) -> pd.DataFrame:
    files = {f"i{n}.png": png(image) for n, image in enumerate(images)}
    files |= {f"m{n}.png": png(mask) for n, mask in enumerate(masks or [])}
    archive_of(path, files)
    columns: dict[str, object] = dict.fromkeys(COLUMNS, pd.NA) | {
        "id": [f"x/{n}" for n in range(len(images))],
        "edition": "x",
        "archive": str(path),
        "member": [f"i{n}.png" for n in range(len(images))],
        "label": ["benign" if n % 2 else "malignant" for n in range(len(images))],
    }
    if masks:
        columns |= {
            "mask_archive": str(path),
            "mask_member": [f"m{n}.png" for n in range(len(masks))],
        }
    return build_index(pd.DataFrame(columns).astype("string"))


@pytest.mark.parametrize(
    "shape", [(45, 45), (64, 64), (200, 300), (301, 200), (224, 223), (50, 99)]
)
@pytest.mark.parametrize("crop", [None, 45, 44])
@pytest.mark.parametrize("size", [32, 64])
def test_preprocessing_equals_torchvision(
    shape: tuple[int, int], crop: int | None, size: int
) -> None:
    """Against torchvision's tensor kernels, which share no code with Pillow."""
    torch = pytest.importorskip("torch")
    from torchvision.transforms import v2

    image = smooth(*shape)
    steps = [v2.CenterCrop(crop or min(shape)), v2.Resize([size, size], antialias=True)]
    expected = v2.Compose(steps)(torch.from_numpy(image.transpose(2, 0, 1).copy()))
    found = preprocess(image, crop=crop, size=size)
    assert found.shape == (size, size, 3) and found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected.numpy().transpose(1, 2, 0))
    assert difference.max() <= 1


def test_grey_stays_two_dimensional() -> None:
    image = smooth(60, 80)
    grey = preprocess(image[..., 0], crop=None, size=32)
    np.testing.assert_array_equal(grey, preprocess(image, crop=None, size=32)[..., 0])


@settings(deadline=None)
@given(st.integers(40, 120), st.integers(40, 120), st.integers(0, 999), st.booleans())
def test_masks_stay_aligned_with_their_images(
    height: int, width: int, seed: int, cropped: bool
) -> None:
    """An image that shows its own mask agrees with it, however asymmetric, after both paths."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = rng.integers(0, (height // 2, width // 2))
    mask[top : top + height // 3, left : left + width // 4] = 255
    options = {"crop": 40 if cropped else None, "size": 32}
    shown = preprocess(np.repeat(mask[..., None], 3, axis=2), **options)[..., 0]
    found = preprocess_mask(mask, **options)
    assert set(np.unique(found)) <= {0, 255}
    assert np.all(found[shown >= 240] == 255) and np.all(found[shown <= 15] == 0)


def test_a_mask_covers_where_half_of_the_area_is_lesion() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = mask[2:, 2] = mask[2, 1] = 255
    expected = [[0, 0], [0, 255]]
    np.testing.assert_array_equal(preprocess_mask(mask, crop=None, size=2), expected)
    np.testing.assert_array_equal(preprocess_mask(mask // 255, crop=None, size=2), expected)
    assert not preprocess_mask(np.zeros_like(mask), crop=None, size=2).any()


def test_a_crop_beyond_the_image_is_refused() -> None:
    with pytest.raises(MeddiffError, match="50x40 px, smaller than the crop of 41"):
        preprocess(smooth(40, 50), crop=41, size=32)


class Packed(NamedTuple):
    images: np.ndarray
    table: pd.DataFrame


def packed_set(out: dict[str, Path]) -> Packed:
    return Packed(np.load(out["out_array"]), read_table(out["out_table"]))


class TestPack:
    @pytest.fixture
    def out(self, tmp_path: Path) -> dict[str, Path]:
        return {"out_array": tmp_path / "set" / "x.npy", "out_table": tmp_path / "set" / "x.csv"}

    def test_rows_are_the_records_in_their_order(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        images = [smooth(50, 60, seed) for seed in range(6)]
        index = index_of(tmp_path / "a.zip", images).assign(group=[3, 3, 1, 0, 2, 5])
        records = index.loc[[4, 0, 5, 2]]
        counted: list[int] = []
        pack(records, crop=None, size=32, progress=counted.append, workers=2, **out)
        packed = packed_set(out)
        assert packed.images.shape == (4, 32, 32, 3) and sum(counted) == 4
        for row, n in enumerate([4, 0, 5, 2]):
            expected = preprocess(images[n], crop=None, size=32)
            np.testing.assert_array_equal(packed.images[row], expected)
        assert list(packed.table) == ["id", "label", "edition", "group", "source_sha256"]
        assert packed.table["id"].tolist() == ["x/4", "x/0", "x/5", "x/2"]
        assert packed.table["group"].tolist() == [2, 3, 5, 1]
        assert packed.table["source_sha256"][0] == hashlib.sha256(png(images[4])).hexdigest()

    def test_plain_numpy_reads_the_array_and_threads_do_not_change_it(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(9)])
        pack(index, crop=None, size=32, **out)
        first = out["out_array"].read_bytes()
        array = np.load(out["out_array"])
        assert array.dtype == np.uint8 and array.flags.c_contiguous
        np.testing.assert_array_equal(load_images(out["out_array"]), array)
        pack(index, crop=None, size=32, workers=4, **out)
        assert out["out_array"].read_bytes() == first

    def test_grey_has_one_channel(self, tmp_path: Path, out: dict[str, Path]) -> None:
        grey = smooth(64, 64)[..., 0]
        pack(index_of(tmp_path / "a.zip", [grey]), crop=45, size=32, grey=True, **out)
        packed = load_images(out["out_array"])
        assert packed.shape == (1, 32, 32, 1)
        np.testing.assert_array_equal(packed[0, ..., 0], preprocess(grey, crop=45, size=32))

    def test_masks_have_one_channel_of_two_values(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        masks = [np.uint8(255) * (smooth(50, 60, seed)[..., 0] > 128) for seed in (1, 2)]
        index = index_of(tmp_path / "a.zip", [smooth(50, 60)] * 2, masks)
        pack(index, crop=None, size=32, masks=True, **out)
        packed = packed_set(out)
        assert packed.images.shape == (2, 32, 32, 1)
        for n, mask in enumerate(masks):
            expected = preprocess_mask(mask, crop=None, size=32)
            np.testing.assert_array_equal(packed.images[n, ..., 0], expected)
        assert packed.table["source_sha256"][1] == hashlib.sha256(png(masks[1])).hexdigest()

    def test_images_without_masks_are_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 2)
        with pytest.raises(MeddiffError, match="2 images have no mask: x/0, x/1"):
            pack(index, crop=None, size=32, masks=True, **out)

    def test_a_source_that_changed_is_refused_and_nothing_is_written(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(3)])
        pack(index, crop=None, size=32, **out)
        before = {path: path.read_bytes() for path in out.values()}
        archive_of(
            tmp_path / "a.zip", {f"i{n}.png": png(smooth(40, 40, n + (n == 1))) for n in range(3)}
        )
        with pytest.raises(MeddiffError, match=r"i1\.png in .*a\.zip changed since it was indexed"):
            pack(index, crop=None, size=32, **out)
        assert {path: path.read_bytes() for path in out.values()} == before
        assert sorted(out["out_array"].parent.iterdir()) == sorted(out.values())

    def test_an_image_below_the_crop_is_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(64, 64), smooth(40, 64)])
        with pytest.raises(MeddiffError, match=r"i1\.png in .*: the image is 64x40 px, smaller"):
            pack(index, crop=45, size=32, **out)

    def test_no_images(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)])
        with pytest.raises(MeddiffError, match=r"no images to pack into .*x\.npy"):
            pack(index.iloc[:0], crop=None, size=32, **out)

    def test_a_full_disk_is_an_error_not_a_crash(self, tmp_path: Path, small_disk: Path) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 30)
        with pytest.raises(MeddiffError, match="no space left on the disk"):
            pack(
                index,
                crop=None,
                size=128,
                out_array=small_disk / "x.npy",
                out_table=small_disk / "x.csv",
            )
        assert list(small_disk.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class TestLoad:
    def test_a_truncated_array(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npy"
        np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
        data = path.read_bytes()
        for kept in (0, 5, 60, len(data) - 1):
            path.write_bytes(data[:kept])
            with pytest.raises(MeddiffError, match=r"x\.npy is not a whole image array"):
                load_images(path)

    def test_a_missing_array(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=rf"absent\.npy.*{errno.ENOENT}"):
            load_images(tmp_path / "absent.npy")

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((3, 8, 8, 3), np.float32),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((3, 8, 8, 2), np.uint8),
        ],
    )
    def test_other_arrays(self, tmp_path: Path, array: np.ndarray) -> None:
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(MeddiffError, match=r"not uint8 \(n, height, width, 1 or 3\)"):
            load_images(tmp_path / "x.npy")

    def test_pickles_are_not_run(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(MeddiffError, match="not a whole image array"):
            load_images(tmp_path / "x.npy")

    def test_images_are_read_only(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            load_images(tmp_path / "x.npy")[0] = 1
