"""The encoding shortcut: labels that show in how files were encoded, not in what they show.

In the study, the images of one class were stretched to the full range of grey levels and encoded
as JPEG once more. Here random labels stand for the class: whatever a classifier finds of them is
the encoding alone.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import laplace
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from meddiff.core.randomness import stream, stream_seed
from meddiff.data.preprocessing.transforms import preprocess
from meddiff.data.readers.archive import map_members
from meddiff.data.readers.decode import decode_rgb
from meddiff.data.readers.depth import windows_of

Pixels = NDArray[np.uint8]
LEVELS = (0, 1, 5, 25, 50, 75, 95, 99, 100)
"""Percentiles of grey levels."""
STEEPNESS = (10, 25, 50, 75, 90, 99)
"""Percentiles of the Laplacian's absolute value."""


@dataclass(frozen=True)
class Treatment:
    """What is done to the images of the first and of the second label before preprocessing."""

    name: str
    first: str
    second: str


TREATMENTS = (
    Treatment("as stored", "stored", "stored"),
    Treatment("one label re-encoded", "stored", "encoded"),
    Treatment("one label stretched and re-encoded", "stored", "stretched"),
    Treatment("all re-encoded alike", "encoded", "encoded"),
    Treatment("one label stretched, then all re-encoded", "encoded", "stretched twice"),
)


def encoding_table(
    rows: pd.DataFrame,
    *,
    crop: int | None,
    side: int,
    size: int,
    quality: int,
    images: int,
    folds: int,
    seed: int,
    workers: int = 1,
) -> pd.DataFrame:
    """Test whether labels show in the encoding, first random labels and then the real ones.

    Random labels come with each of TREATMENTS: a classifier sees the preprocessed images, and what
    it gets right beyond chance is the encoding. The real labels are told from the header of the
    file alone: format, subsampling, quantisation tables, width and height.

    Args:
        rows: images of the index in use, with `label`, `group` and `encoding`.
        crop: side of the centre crop in px, or None for the largest square.
        side: side in px at which images are re-encoded; larger ones are reduced to it before.
        size: side of the preprocessed images in px.
        quality: JPEG quality of re-encoded images.
        images: images at most for the random labels, drawn at random.
        folds: parts of the images; each is held out once.
        seed: seed of the draw, the random labels and the parts.
        workers: threads; they never change the result.

    Returns:
        One row a test: `labels` (random or class), `images`, `treatment`, `chance` (share of the
        more frequent label), `accuracy` over held-out images, and its 95 % interval `low` and
        `high` (Clopper and Pearson 1934, which takes images as independent). Not a number where
        there are too few images, or a class has too few groups, to hold some out.
    """
    drawn = _draw(rows, images, folds, seed)
    statistics = _statistics(drawn, crop, side, size, quality, workers)
    second = stream(seed, "encoding", "labels").permutation(len(drawn)) % 2 == 1
    told = []
    parts = min(folds, len(drawn) // 2)
    for treatment in TREATMENTS:
        seen = np.where(second[:, None], statistics[treatment.second], statistics[treatment.first])
        told.append(_score("random", treatment.name, second, _guess(seen, second, parts, seed)))
    return pd.DataFrame([*told, _from_headers(rows, folds, seed)])


def _guess(
    seen: NDArray[np.float64], second: NDArray[np.bool_], folds: int, seed: int
) -> NDArray[np.bool_] | None:
    """Tell the second label of held-out images; None where there are too few to hold some out."""
    if folds < 2:
        return None
    parts = StratifiedKFold(folds, shuffle=True, random_state=_fold_seed(seed, "labels"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    guesses: NDArray[np.bool_] = cross_val_predict(model, seen, second, cv=parts)
    return guesses


def image_statistics(image: Pixels) -> NDArray[np.float64]:
    """Return what encodings change of an image: grey levels, steepness, spectrum by radius.

    Args:
        image: uint8 (size, size, 3).
    """
    pixels = image.astype(float)
    levels = np.percentile(pixels, LEVELS, axis=(0, 1))
    steepness = np.percentile(np.abs(laplace(pixels, axes=(0, 1))), STEEPNESS, axis=(0, 1))
    return np.concatenate([levels, np.log1p(steepness), _radial_spectrum(image)], axis=None)


def _radial_spectrum(image: Pixels) -> NDArray[np.float64]:
    """Return the log of the mean amplitude of Y, Cb and Cr at each radius of frequency."""
    channels = np.asarray(Image.fromarray(image).convert("YCbCr"), float)
    amplitude = np.abs(np.fft.rfft2(channels, axes=(0, 1)))
    down, right = np.fft.fftfreq(len(image)), np.fft.rfftfreq(len(image))
    radius = (np.hypot(down[:, None], right) * len(image)).astype(int).ravel()
    totals = [np.bincount(radius, plane.ravel()) for plane in np.moveaxis(amplitude, 2, 0)]
    means = np.stack(totals) / np.bincount(radius)
    return np.log1p(means[:, 1 : len(image) // 2])


def _draw(rows: pd.DataFrame, images: int, folds: int, seed: int) -> pd.DataFrame:
    order = stream(seed, "encoding", "images").permutation(len(rows))
    return rows.iloc[np.sort(order[: max(images, 2 * folds)])]


def _statistics(
    rows: pd.DataFrame, crop: int | None, side: int, size: int, quality: int, workers: int
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics (images, values) of all images after each change of encoding."""
    places = list(zip(rows["archive"], rows["member"], strict=True))
    windows = windows_of(rows)

    def measure(position: int, data: bytes) -> tuple[int, dict[str, NDArray[np.float64]]]:
        image = decode_rgb(data, places[position][1], windows)
        square = preprocess(image, crop=crop, size=min(crop or side, side, *image.shape[:2]))
        variants = _variants(square, quality)
        return position, {
            name: image_statistics(preprocess(pixels, crop=None, size=size))
            for name, pixels in variants.items()
        }

    found = dict(map_members(measure, places, workers))
    return {
        name: np.stack([found[position][name] for position in range(len(rows))])
        for name in found[0]
    }


def _variants(pixels: Pixels, quality: int) -> dict[str, Pixels]:
    stretched = _encode(_stretch(pixels), quality)
    return {
        "stored": pixels,
        "encoded": _encode(pixels, quality),
        "stretched": stretched,
        "stretched twice": _encode(stretched, quality),
    }


def _stretch(pixels: Pixels) -> Pixels:
    low, high = int(pixels.min()), int(pixels.max())
    return np.round((pixels - float(low)) * (255 / max(high - low, 1))).astype(np.uint8)


def _encode(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _fold_seed(seed: int, purpose: str) -> int:
    """Return a seed as scikit-learn takes them, below 2^32."""
    return stream_seed(seed, "encoding folds", purpose) % 2**32


def _from_headers(rows: pd.DataFrame, folds: int, seed: int) -> dict[str, object]:
    """Tell the class of each image from its file's header, groups kept together."""
    headers = rows[["encoding", "width", "height"]].astype("string").fillna("").to_numpy(str)
    labels = rows["label"].to_numpy(str)
    folds = min(folds, int(rows.groupby("label")["group"].nunique().min()))
    if folds < 2:
        return _score("class", "headers of the files", labels, None)
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=_fold_seed(seed, "headers"))
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=5000))
    guesses = cross_val_predict(model, headers, labels, groups=rows["group"], cv=parts)
    return _score("class", "headers of the files", labels, guesses)


def _score(
    kind: str, treatment: str, truth: np.ndarray, guesses: np.ndarray | None
) -> dict[str, object]:
    _, counts = np.unique(truth, return_counts=True)
    row = {
        "labels": kind,
        "treatment": treatment,
        "n_images": len(truth),
        "chance": counts.max() / len(truth),
    }
    if guesses is None:
        return row | dict.fromkeys(("accuracy", "ci_low", "ci_high"), math.nan)
    right = int((truth == guesses).sum())
    interval = binomtest(right, len(truth)).proportion_ci()
    bounds = {"ci_low": float(interval.low), "ci_high": float(interval.high)}
    return row | {"accuracy": right / len(truth)} | bounds
