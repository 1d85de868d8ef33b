"""Copies and duplicates in pixels: kinds of images, outliers, plants encoded anew."""

import io

import numpy as np
import pytest
from PIL import Image

from meddiff.core.errors import MeddiffError
from meddiff.metrics.copies import find_copies

SIDE = 32


def varied(seed, n):
    """Smooth colour pictures of nothing in common, (n, SIDE, SIDE, 3)."""
    coarse = np.random.default_rng(seed).integers(40, 216, (n, 5, 5, 3), dtype=np.uint8)
    images = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for place, x in enumerate(coarse):
        images[place] = Image.fromarray(x).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return images


def alike(seed, n):
    """One picture, as often with other noise."""
    noise = np.random.default_rng(seed).normal(0, 6, (n, SIDE, SIDE, 3))
    return np.clip(varied(99, 1) * 0.6 + 50 + noise, 0, 255).astype(np.uint8)


def of_kinds(seed, n, share):
    few = round(n * share)
    return np.concatenate([alike(seed, few), varied(seed + 1, n - few)])


def jpeg(images, quality):
    result = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        result.append(np.asarray(Image.open(buffer)))
    return np.stack(result)


def nudged(images):
    step = np.random.default_rng(0).integers(-1, 2, images.shape)
    return np.clip(images.astype(int) + step, 0, 255).astype(np.uint8)


CHANGES = {
    "exact": lambda images: images,
    "turned": lambda images: np.rot90(images, 1, axes=(1, 2))[:, :, ::-1],
    "one level": nudged,
    "JPEG 95": lambda images: jpeg(images, 95),
    "JPEG 75": lambda images: jpeg(images, 75),
}


@pytest.mark.parametrize("share", [0, 0.05, 0.4, 0.6, 0.95, 1])
@pytest.mark.parametrize("k", [10, 40])
def test_nothing_is_a_copy_where_nothing_is_copied(share, k):
    """Whatever the kinds of images, and with an unseen image that is like none of them."""
    training, synthetic = of_kinds(1, 100, share), of_kinds(3, 60, share)
    unseen = of_kinds(5, k, share)
    result = find_copies(training, synthetic, unseen)
    assert (result.duplicates, result.identical) == (0, 0)
    for strange in (np.zeros_like(unseen[:2]), np.full_like(unseen[:1], 255), 255 - unseen[:1]):
        odd = unseen.copy()
        odd[: len(strange)] = strange
        result = find_copies(training, synthetic, odd)
        assert (result.duplicates, result.identical) == (0, 0)


@pytest.mark.parametrize(
    ("name", "share"),
    # JPEG takes off most of what images that are alike differ by.
    [
        (name, share)
        for name in CHANGES
        for share in (0, 0.4, 1)
        if share == 0 or "JPEG" not in name
    ],
)
@pytest.mark.parametrize("planted", [1, 3])
def test_planted_duplicates_are_counted_and_hide_no_copies(name, share, planted):
    change = CHANGES[name]
    training, unseen = of_kinds(1, 100, share), of_kinds(3, 40, share)
    unseen[:planted] = change(training[-planted:])
    honest = find_copies(training, of_kinds(5, 60, share), unseen)
    assert (honest.duplicates, honest.identical) == (planted, 0)
    copying = find_copies(training, change(training[-60:]), unseen)
    assert (copying.duplicates, copying.identical, copying.verdict) == (planted, 60, "copies")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_unseen_images_that_all_were_seen_are_refused(change):
    training = varied(1, 60)
    with pytest.raises(MeddiffError, match="20 of 20"):
        find_copies(training, varied(2, 30), change(training[:20]))
