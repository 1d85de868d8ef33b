"""Planted faults of samples are counted, and none among images like the training images."""

import numpy as np
import pytest

from meddiff.diffusion.sampling.checks import count_faults, faults_table


def lesions(n: int, seed: int) -> np.ndarray:
    """Skin of varied tone with a darker disc, uint8 (n,24,24,3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    tone = rng.normal([200, 160, 140], 8, (n, 1, 1, 3))
    radius = rng.uniform(4, 9, (n, 1, 1))
    inside = ((y - 12) ** 2 + (x - 12) ** 2 < radius**2)[..., None]
    images = np.where(inside, tone * rng.uniform(0.4, 0.7, (n, 1, 1, 1)), tone)
    return np.clip(images + rng.normal(0, 4, images.shape), 0, 255).astype(np.uint8)


def test_images_like_the_training_images_have_no_fault() -> None:
    counts = count_faults(lesions(400, 1), lesions(2000, 0))
    assert counts["n_images"] == 400 and counts["black"] == counts["flat"] == 0
    assert counts["colour_shifted"] <= 4


def test_planted_faults_are_counted_each_for_itself() -> None:
    samples = lesions(40, 1)
    samples[:3] //= 12
    samples[3:8] = samples[3:8].mean((1, 2), keepdims=True).astype(np.uint8)
    samples[8:15, ..., 0] -= 60
    samples[15] = 0
    counts = count_faults(samples, lesions(1000, 0))
    assert counts["black"] == 4, "three dark ones and the one that is all black"
    assert counts["flat"] == 5 + 4, "the flat ones, and dark ones, which vary little"
    assert counts["colour_shifted"] == 7
    assert counts["faulty"] == 3 + 5 + 7 + 1


def test_one_odd_training_image_does_not_hide_faults() -> None:
    training = lesions(3000, 0)
    training[0] = 0
    assert count_faults(np.zeros((5, 24, 24, 3), np.uint8), training)["black"] == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_never_vary_are_measured_too(channels: int) -> None:
    same = np.full((10, 8, 8, channels), 90, np.uint8)
    assert count_faults(same, same)["faulty"] == 0
    brighter = count_faults(same + 50, same)
    assert brighter["colour_shifted"] == 10 and brighter["black"] == 0


def test_the_table_names_each_class_and_the_log_the_bad_one(caplog) -> None:
    training = {"good": lesions(500, 0), "bad": lesions(500, 1)}
    table = faults_table({"good": lesions(50, 2), "bad": lesions(50, 3) // 9}, training)
    assert table.set_index("class").loc["bad", "black"] == 50
    assert table["class"].tolist() == ["good", "bad"]
    [line] = caplog.messages
    assert line.startswith("bad: 50 black, 50 flat, 0 colour-shifted of 50 ")
