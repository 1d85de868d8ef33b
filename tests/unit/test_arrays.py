"""MedMNIST's and ADM's .npz, read image by image; what is no images is one line."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meddiff.core.errors import MeddiffError
from meddiff.data.listing import list_images
from meddiff.data.readers.settings import Reading


def images_of(count: int, *shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(dtype)


def medmnist(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays as MedMNIST has them: three splits, labels (n,1)."""
    made = {}
    for number, split in enumerate(("train", "val", "test")):
        made[f"{split}_images"] = images_of(5 + number, 28, 28, 3, seed=number)
        made[f"{split}_labels"] = (np.arange(5 + number) % 3)[:, None].astype(np.uint8)
    return made | arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_medmnist(tmp_path: Path, save: Any) -> None:
    arrays = medmnist()
    save(tmp_path / "pathmnist.npz", **arrays)
    listing = list_images(tmp_path / "pathmnist.npz")
    pixels = listing.pixels(crop=None, size=28)
    everything = np.concatenate([arrays[f"{split}_images"] for split in ("train", "val", "test")])
    np.testing.assert_array_equal(pixels, everything)
    images = listing.image_set(pixels)
    assert images.ids[4:6] == ("pathmnist.npz#train/4", "pathmnist.npz#val/0")
    assert images.labels == tuple("01201" + "012012" + "0120120") and images.groups is None


def test_adm(tmp_path: Path) -> None:
    """Their samples, with classes if the model has some."""
    samples = images_of(9, 16, 16, 3)
    np.savez(tmp_path / "samples_9x16x16x3.npz", samples)
    listing = list_images(tmp_path / "samples_9x16x16x3.npz")
    np.testing.assert_array_equal(listing.pixels(crop=None, size=16), samples)
    assert listing.rows["label"].isna().all() and listing.rows["group"].isna().all()
    np.savez(tmp_path / "samples_9x16x16x3.npz", samples, np.arange(9) % 2)
    assert list_images(tmp_path / "samples_9x16x16x3.npz").rows["label"].tolist() == [*"010101010"]


def test_a_file_a_class_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sets.zip", "w") as file:
        for number, name in enumerate(("nevus", "melanoma")):
            buffer = io.BytesIO()
            np.savez(buffer, np.full((2, 4, 4), number, np.uint8))
            file.writestr(f"out/{name}/s.npz", buffer.getvalue())
    listing = list_images(tmp_path / "sets.zip")
    assert listing.rows["label"].tolist() == ["melanoma"] * 2 + ["nevus"] * 2
    assert listing.pixels(crop=None, size=4)[:, 0, 0, 0].tolist() == [1, 1, 0, 0]


def test_findings_of_several_columns_are_no_classes(tmp_path: Path) -> None:
    labels = np.ones((5, 14), np.uint8)
    np.savez(tmp_path / "chestmnist.npz", **medmnist(train_labels=labels))
    label = list_images(tmp_path / "chestmnist.npz").rows["label"]
    assert label[:5].isna().all() and label[5:].notna().all()


@pytest.mark.parametrize(
    ("values", "greys"),
    [
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([-1.0, 0.0, 1.0]), [0, 128, 255]),
        (np.array([0.0, 127.6, 255.0]), [0, 128, 255]),
        (np.array([0, 2048, 4095], np.uint16), [0, 128, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
    ],
)
def test_other_numbers_have_one_window(tmp_path: Path, values: np.ndarray, greys: list) -> None:
    # Half of an image at either end, so that no level is rare.
    np.savez(tmp_path / "a.npz", np.tile(values[:, None, None], (1, 8, 8)))
    images = list_images(tmp_path / "a.npz").pixels(crop=None, size=8)
    assert images[:, 0, 0, 0].tolist() == greys


def test_a_window_of_the_user(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.tile(np.array([0.0, 5.0, 20.0])[:, None, None], (1, 8, 8)))
    listing = list_images(tmp_path / "a.npz", Reading(window=(0, 10)))
    assert listing.pixels(crop=None, size=8)[:, 0, 0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": np.array([{"a": 1}, None])}, r"arr_0 in x\.npz .*pickled"),
        ({"train_images": images_of(2, 4, 4).astype(object)}, r"train_images in .*pickled"),
        ({"arr_0": images_of(2, 3, 4, 4)}, r"arr_0 .*transpose"),
        ({"arr_0": images_of(2, 28, 28, 28)}, r"arr_0 .*slices"),
        ({"arr_0": images_of(2, 4)}, r"arr_0 .*\(2, 4\)"),
        ({"arr_0": images_of(2, 4, 4).astype(str)}, r"arr_0 .*<U"),
        ({"arr_0": images_of(2, 4, 4, 3, dtype=float)}, r"arr_0 .*uint8, 0 to 255"),
        ({"arr_0": np.asfortranarray(images_of(2, 4, 4))}, r"arr_0 .*ascontiguousarray"),
        ({"arr_0": np.full((2, 4, 4), np.nan)}, r"image 0 of arr_0 .*nan_to_num"),
        ({"arr_0": images_of(2, 0, 4)}, r"arr_0 .*4x0 pixels"),
        ({"mu": np.zeros(4), "sigma": np.zeros((4, 4))}, r"x\.npz .*mu, sigma.*arr_0"),
        ({"train_images": images_of(2, 4, 4), "train_labels": np.zeros(3)},
         r"train_labels .*2 images"),
        ({"arr_0": images_of(2, 4, 4), "arr_1": np.array([None, 1])}, r"arr_1 .*2 images"),
    ],
)  # fmt: skip
def test_what_is_no_images(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "x.npz", allow_pickle=True, **arrays)
    with pytest.raises(MeddiffError, match=message) as error:
        list_images(tmp_path).pixels(crop=None, size=4)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 3, 50, 300, -30, -1])
def test_truncated(tmp_path: Path, kept: int) -> None:
    np.savez_compressed(tmp_path / "x.npz", images_of(20, 8, 8))
    path = tmp_path / "x.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MeddiffError, match=r"x\.npz .*\bcopy\b"):
        list_images(path)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    """As a bomb does: nothing of the promised size is taken."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (3, 9000, 9000, 1)}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("arr_0.npy", buffer.getvalue() + bytes(100))
    listing = list_images(tmp_path / "x.npz")
    with pytest.raises(MeddiffError, match=r"x\.npz .*\b0 of 3\b"):
        listing.pixels(crop=None, size=4)
