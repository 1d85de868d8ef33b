"""Both modes of decoding beside torchvision's own path, on real photographs and drawn ones."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, Resize

from meddiff.data.imageset import preprocess_file
from meddiff.data.phantom.archives import Photograph, _draw_photograph


def torchvision_path(data: bytes, size: int, crop: int | None = None) -> np.ndarray:
    """What ImageFolder's loader and the study's transforms make of a file."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    steps = Compose([CenterCrop(crop or min(image.size)), Resize([size, size])])
    return np.asarray(steps(image)).astype(int)


def differences(files: list[bytes], size: int, decoding: str) -> np.ndarray:
    found = [
        preprocess_file(data, "x", crop=None, size=size, decoding=decoding)
        - torchvision_path(data, size)
        for data in files
    ]
    return np.abs(np.stack(found))


@pytest.fixture(scope="module")
def photographs(real_images: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((real_images / "images").glob("*.jpg"))[::5]]


@pytest.fixture(scope="module")
def drawn() -> list[bytes]:
    return [_draw_photograph(Photograph(n % 2, n, n, n, 0), size=300) for n in range(6)]


@pytest.mark.parametrize("size", [32, 64, 224])
def test_exact_is_within_one_level_on_real_images(photographs, size):
    assert differences(photographs, size, "exact").max() <= 1


@pytest.mark.parametrize("size", [32, 64])
def test_fast_stays_close_on_real_images(photographs, size):
    found = differences(photographs, size, "fast")
    assert found.mean() <= 0.5 and np.percentile(found, 99.9) <= 8
    assert found.max() > 1, "nothing was decoded at a reduced scale"


@pytest.mark.parametrize("decoding", ["exact", "fast"])
@pytest.mark.parametrize("size", [32, 96, 400])
def test_drawn_images(drawn, decoding, size):
    found = differences(drawn, size, decoding)
    assert found.max() <= 1 if decoding == "exact" else found.mean() <= 0.5


@pytest.mark.parametrize("decoding", ["exact", "fast"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("crop", [None, 201])
def test_every_orientation_is_turned(drawn, decoding, orientation, crop):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(io.BytesIO(drawn[1])).resize((330, 262))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, exif=exif)
    expected = torchvision_path(file.getvalue(), 24, crop)
    found = preprocess_file(file.getvalue(), "x", crop=crop, size=24, decoding=decoding)
    assert np.abs(found - expected).mean() <= 0.6
    if orientation > 1:
        plain = torchvision_path(drawn[1], 24, crop)
        assert np.abs(found - plain).mean() > 3, "the picture is too even to show a turn"
