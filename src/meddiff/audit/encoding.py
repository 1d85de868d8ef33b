"""The encoding shortcut: labels that can be predicted from how files were encoded.

In the study, the images of one class were stretched to the full range of grey levels and encoded
as JPEG once more. Here random labels take the place of the class: a classifier can predict them
from the encoding only.
"""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import laplace
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from meddiff.audit.settings import EncodingSettings
from meddiff.core.randomness import stream, stream_seed
from meddiff.data.preprocessing.resizing import preprocess
from meddiff.data.readers.decode import decode_rgb
from meddiff.data.readers.members import map_members
from meddiff.data.readers.windows import windows_of
from meddiff.metrics.images import random_places
from meddiff.metrics.intervals import share_interval, without_interval

Pixels = NDArray[np.uint8]
LEVELS = (0, 1, 5, 25, 50, 75, 95, 99, 100)
"""Percentiles of grey levels."""
STEEPNESS = (10, 25, 50, 75, 90, 99)
"""Percentiles of the Laplacian's absolute value."""


@dataclass(frozen=True)
class Treatment:
    """Changes of the images of the first and of the second label before preprocessing."""

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
    settings: EncodingSettings,
    *,
    crop: int | None,
    size: int,
    seed: int,
    workers: int = 1,
) -> pd.DataFrame:
    """Test whether labels can be predicted from the encoding: random labels, then the real ones.

    Random labels are combined with each of TREATMENTS. A classifier of the preprocessed images is
    better than chance only by the encoding. The real labels are predicted from the header of the
    file alone: format, subsampling, quantisation tables, width and height.

    Args:
        rows: selected images of the index, with `label`, `group` and `encoding`.
        crop: side of the centre crop in px, or None for the largest square.
        size: side of the preprocessed images in px.

    Returns:
        One row per test: `labels` (random or class), `n_images`, `treatment`, `chance` (share of
        the more frequent label), `accuracy` over cross-validated images, and its 95 % interval
        `ci_low` and `ci_high` (Clopper and Pearson 1934, which takes images as independent). NaN
        if there is one class, or too few images or groups of a class, for a cross-validation.
    """
    most = max(settings.images, 2 * settings.folds)
    drawn = rows.iloc[random_places(len(rows), most, seed, "encoding", "images")]
    statistics = _statistics(drawn, settings, crop, size, workers)
    second = stream(seed, "encoding", "labels").permutation(len(drawn)) % 2 == 1
    folds = min(settings.folds, len(drawn) // 2)
    scores = []
    for treatment in TREATMENTS:
        kinds = statistics[treatment.second], statistics[treatment.first]
        values = np.where(second[:, None], *kinds)
        predictions = _predict_random(values, second, folds, seed)
        scores.append(_score("random", treatment.name, second, predictions))
    return pd.DataFrame([*scores, _from_headers(rows, settings.folds, seed)])


def _predict_random(
    values: NDArray[np.float64], second: NDArray[np.bool_], folds: int, seed: int
) -> NDArray[np.bool_] | None:
    """Return cross-validated predictions of the second label; None for fewer than two folds."""
    if folds < 2:
        return None
    splitter = StratifiedKFold(folds, shuffle=True, random_state=_fold_seed(seed, "labels"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    predictions: NDArray[np.bool_] = cross_val_predict(model, values, second, cv=splitter)
    return predictions


def image_statistics(image: Pixels) -> NDArray[np.float64]:
    """Return what encodings change in uint8 (s, s, 3): levels, steepness, spectrum by radius."""
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


def _statistics(
    rows: pd.DataFrame, settings: EncodingSettings, crop: int | None, size: int, workers: int
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics (images, values) of all images after each change of encoding."""
    locations = list(zip(rows["archive"], rows["member"], strict=True))
    windows = windows_of(rows)

    def measure(position: int, data: bytes) -> tuple[int, dict[str, NDArray[np.float64]]]:
        image = decode_rgb(data, locations[position][1], windows)
        side = min(crop or settings.side, settings.side, *image.shape[:2])
        variants = _variants(preprocess(image, crop=crop, size=side), settings.quality)
        return position, {
            name: image_statistics(preprocess(pixels, crop=None, size=size))
            for name, pixels in variants.items()
        }

    values = dict(map_members(measure, locations, workers))
    return {
        name: np.stack([values[position][name] for position in range(len(rows))])
        for name in values[0]
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
    """Return a seed below 2^32, as scikit-learn requires."""
    return stream_seed(seed, "encoding folds", purpose) % 2**32


def _from_headers(rows: pd.DataFrame, folds: int, seed: int) -> dict[str, object]:
    """Score cross-validated predictions of the class from the file's header, by groups."""
    headers = rows[["encoding", "width", "height"]].astype("string").fillna("").to_numpy(str)
    labels = rows["label"].to_numpy(str)
    folds = min(folds, int(rows.groupby("label")["group"].nunique().min()))
    if folds < 2 or len(set(labels)) < 2:
        return _score("class", "headers of the files", labels, None)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=_fold_seed(seed, "headers"))
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=5000))
    predictions = cross_val_predict(model, headers, labels, groups=rows["group"], cv=splitter)
    return _score("class", "headers of the files", labels, predictions)


def _score(
    kind: str, treatment: str, truth: np.ndarray, predictions: np.ndarray | None
) -> dict[str, object]:
    _, counts = np.unique(truth, return_counts=True)
    accuracy = without_interval(np.nan)
    if predictions is not None:
        accuracy = share_interval(int((truth == predictions).sum()), len(truth))
    return {
        "labels": kind,
        "treatment": treatment,
        "n_images": len(truth),
        "chance": counts.max() / len(truth),
        "accuracy": accuracy.value,
        "ci_low": accuracy.low,
        "ci_high": accuracy.high,
    }
