"""What people bring, listed before any pixel is read: ids, labels, groups."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meddiff.core.errors import MeddiffError
from meddiff.data.listing import list_images
from meddiff.data.sources.folder import folder_labels
from meddiff.evaluation.image_sets import read_image_set


def written(folder: Path, names: list[str]) -> Path:
    """Images of one grey level each, 40 more than that of the one before."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 40 * number).save(folder / name)
    return folder


def test_a_folder_a_class(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", ["nevus/b/2.png", "melanoma/1.png", "nevus/a/2.jpg"])
    listing = list_images(folder)
    assert listing.rows["id"].tolist() == ["melanoma/1.png", "nevus/a/2.jpg", "nevus/b/2.png"]
    images = listing.image_set(listing.pixels(crop=None, size=4))
    assert images.labels == ("melanoma", "nevus", "nevus") and images.groups is None
    assert images.ids == tuple(listing.rows["id"])
    np.testing.assert_allclose(images.images[:, 0, 0, 0], [40, 80, 0], atol=1)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a.png", "b/c.png"], [None, None]),
        (["a/1.png", "a/2.png"], ["a", "a"]),
        (["top/a/1.png", "top/b/2.png"], ["a", "b"]),
        (["top/in/a/1.png", "top/in/b/x/2.png"], ["a", "b"]),
        (["top/a/1.png", "top/2.png"], ["top", "top"]),
        ([], []),
    ],
)
def test_labels_are_folders(names: list[str], labels: list[str | None]) -> None:
    assert folder_labels(names) == labels


def test_a_set_of_few_images(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", ["1.png", "2.png"])
    assert len(list_images(folder).rows) == 2
    with pytest.raises(MeddiffError, match=r"x has 2 images"):
        read_image_set(folder, crop=None, size=4)
