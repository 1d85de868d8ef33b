"""Real photographs as both sides of `evaluate --train`, as they are and changed in known ways."""

import csv
import io
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import meddiff
from conftest import ROOT
from meddiff.data.image_sets import ImageSet

REAL = ROOT.parent / "shared/real"
ARCHIVE, DIAGNOSES = REAL / "kaggle/2018.zip", REAL / "ham10000/metadata.csv"
CLASSES = {"nv": "naevus", "bkl": "keratosis", "akiec": "keratosis", "bcc": "keratosis"}
EACH, SIDE = 200, 64
# SkinLesNet only just begins to learn here; HOG and SVM lead.
SETTINGS = meddiff.CasSettings(
    steps=2, n_repeats=2, arms=["synthetic", "real"], non_inferiority_margin=0.15
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ARCHIVE.exists(), reason="needs the images of ../shared"),
]


def reduced(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE)))


@cache
def photographs() -> tuple[ImageSet, ImageSet]:
    """Naevi and keratoses of ISIC 2018, one image per lesion, in two sets."""
    with DIAGNOSES.open() as file:
        rows = {row["image_id"]: row for row in csv.DictReader(file)}
    chosen: dict[str, list[str]] = {name: [] for name in sorted(set(CLASSES.values()))}
    with zipfile.ZipFile(ARCHIVE) as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".jpg")}
        for name in np.random.default_rng(0).permutation(sorted(members)):
            label = CLASSES.get(rows.get(name, {}).get("dx", ""))
            if label and len(chosen[label]) < 2 * EACH:
                chosen[label].append(str(name))
        pixels = {
            name: reduced(archive.read(members[name])) for each in chosen.values() for name in each
        }
    sets = []
    for part in range(2):
        names = [name for each in chosen.values() for name in each[part * EACH :][:EACH]]
        labels = np.repeat(list(chosen), EACH)
        lesions = [rows[name]["lesion_id"] for name in names]
        sets.append(ImageSet(np.stack([pixels[name] for name in names]), names, labels, lesions))
    return sets[0], replace(sets[1], groups=None)


class Squares:
    """Mean colours of 8x8 squares as features."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        n, cells = len(images), SIDE // 8
        squares = images.reshape(n, cells, 8, cells, 8, 3).mean((2, 4))
        return squares.reshape(n, -1) / 64 - 2


def evaluated(synthetic: ImageSet) -> meddiff.Evaluation:
    return meddiff.evaluate(
        photographs()[0], synthetic, {"squares": Squares()}, train=SETTINGS,
        ssim_images=40, n_resamples=40, threads=2,
    )  # fmt: skip


def problems(result: meddiff.Evaluation) -> str:
    return "\n".join(each.text for each in result.findings if each.kind == "problem")


def test_other_real_images_can_replace_real_ones() -> None:
    result = evaluated(photographs()[1])
    assert "can replace" in result.answer, result.findings
    assert result.number("accuracy") > 0.6
    assert not problems(result)


def test_blurred_images_are_said_to_be_blurred() -> None:
    other = photographs()[1]
    smooth = [
        np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(3)))
        for image in other.images
    ]
    assert "blurred" in problems(evaluated(replace(other, images=np.stack(smooth))))


def test_exchanged_labels_are_said_to_be_exchanged() -> None:
    other = photographs()[1]
    swap = {"naevus": "keratosis", "keratosis": "naevus"}
    result = evaluated(replace(other, labels=[swap[label] for label in other.labels]))
    assert "cannot replace" in result.answer
    assert "taken for" in problems(result)


def test_copies_that_are_mirrored_and_encoded_anew_are_said_to_be_copies() -> None:
    real = photographs()[0]
    copies = []
    for image in real.images:
        buffer = io.BytesIO()
        Image.fromarray(image[:, ::-1]).save(buffer, "JPEG", quality=90)
        copies.append(np.asarray(Image.open(buffer)))
    result = evaluated(ImageSet(np.stack(copies), [f"c{n}" for n in range(len(real))], real.labels))
    assert result.memorisation.verdict == "copies"
    assert result.memorisation.identical > 0.95 * len(real)
    assert "copies" in problems(result)


def test_noise_is_said_to_be_noise() -> None:
    other = photographs()[1]
    noise = np.random.default_rng(0).integers(0, 256, other.images.shape, dtype=np.uint8)
    result = evaluated(replace(other, images=noise))
    assert "can replace" not in result.answer
    assert "noisy" in problems(result) and "nearer" in problems(result)
