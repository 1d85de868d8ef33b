"""Augmentation against exact transforms and torchvision, and what its draws depend on."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from meddiff.core.batches import batches
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.settings import AugmentationName, AugmentationSettings, DiffusionSettings
from meddiff.diffusion.training import augmentation, steps
from meddiff.diffusion.training.augmentation import (
    PRESETS,
    Changes,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    apply_changes,
    augment,
    draw_changes,
)
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.workflow.config import load_config
from meddiff.workflow.config_files import manual

KEY = (0, "augmentation", "ddpm x", 1)
EVERYTHING = AugmentationSettings(
    flip_horizontal=0.5,
    flip_vertical=0.5,
    invert=0.25,
    rotation=180,
    zoom=0.3,
    brightness=0.5,
    contrast=0.5,
    hue=0.5,
)


def photos(count: int = 6, channels: int = 3, side: int = 16) -> torch.Tensor:
    """Noise with pure black, white, grey and saturated pixels, where hue has its edges."""
    images = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))
    images[:, :, 0, :8] = torch.tensor([0.0, 1, 0.5, 0.25] * 2)
    images[:, :, 1] = images[:, :, 1].round()
    return images


def changes(count: int, **amounts: float) -> Changes:
    """Return the same changes for every image; what is left out does not happen."""
    kinds = dict.fromkeys(Changes._fields[:3], bool)
    return Changes(
        *(
            torch.full((count,), kinds.get(name, float)(amounts.get(name, 0)))
            for name in Changes._fields
        )
    )


def apply(images: torch.Tensor, **amounts: float) -> torch.Tensor:
    return apply_changes(images, changes(len(images), **amounts))


def per_image(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


# What the changes do


@pytest.mark.parametrize("channels", [1, 3])
def test_no_change_gives_the_same_image(channels):
    images = photos(channels=channels)
    assert torch.equal(apply(images), images)
    assert torch.equal(augment(images, np.arange(6), PRESETS["none"], *KEY), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_flips_and_inversion_are_exact(channels):
    images = photos(channels=channels)
    assert torch.equal(apply(images, flip_horizontal=1), images.flip(-1))
    assert torch.equal(apply(images, flip_vertical=1), images.flip(-2))
    assert torch.equal(apply(images, invert=1), 1 - images)


def test_each_image_gets_its_own_change():
    images = photos(3)
    own = changes(3)._replace(
        flip_horizontal=torch.tensor([True, False, False]),
        invert=torch.tensor([False, True, False]),
        rotation=torch.tensor([0.0, 0.0, 90.0]),
    )
    expected = torch.stack([images[0].flip(-1), 1 - images[1], images[2].rot90(1, (-2, -1))])
    assert torch.allclose(apply_changes(images, own), expected, atol=1e-5)


@pytest.mark.parametrize("side", [15, 16])
@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (-90, -1), (180, 2), (-180, 2), (360, 0)])
def test_quarter_turns_are_rot90(side, angle, turns):
    images = photos(side=side)
    expected = images.rot90(turns, (-2, -1))
    assert torch.allclose(apply(images, rotation=angle), expected, atol=1e-4)


def test_rotation_and_zoom_are_torchvisions_where_nothing_lies_beyond_the_border():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    images = (0.5 + 0.4 * torch.sin(4 * x + y)).expand(1, 3, -1, -1)
    ours = apply(images, rotation=30, zoom=0.25)
    theirs = reference.affine(
        images,
        angle=-30,
        translate=[0, 0],
        scale=1.25,
        shear=[0, 0],
        interpolation=reference.InterpolationMode.BILINEAR,
    )
    inner = (..., slice(8, 24), slice(8, 24))
    assert torch.allclose(ours[inner], theirs[inner], atol=1e-4)


def test_zoom_enlarges_when_positive():
    images = torch.zeros(1, 1, 32, 32)
    images[..., 12:20, 12:20] = 1
    areas = [apply(images, zoom=z).sum().item() for z in (-0.25, 0, 0.5)]
    assert areas == pytest.approx([64 * 0.75**2, 64, 64 * 1.5**2], rel=0.05)


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_no_corner_is_empty(grey):
    """A flat image stays flat however it is turned and shrunk."""
    images = torch.full((8, 3, 16, 16), grey)
    turned = changes(8, zoom=-0.4)._replace(rotation=torch.linspace(-180, 180, 8))
    assert torch.allclose(apply_changes(images, turned), images, atol=1e-6)


def test_oblong_images_keep_their_proportions():
    images = torch.zeros(1, 1, 16, 32)
    images[..., 6:10, 14:18] = 1
    turned = apply(images, rotation=90)
    assert torch.allclose(turned[..., 8:24], images[..., 8:24], atol=1e-5)


FACTORS = [0.0, 0.3, 0.9, 1.0, 1.2, 1.9]
SHIFTS = [-0.5, -0.2, -0.01, 0.0, 0.13, 0.5]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, reference.adjust_brightness),
        (adjust_contrast, reference.adjust_contrast),
    ],
)
def test_brightness_and_contrast_are_torchvisions(ours, theirs, channels):
    images = photos(channels=channels)
    expected = [theirs(image, factor) for image, factor in zip(images, FACTORS, strict=True)]
    result = ours(images, per_image(FACTORS))
    assert torch.allclose(result, torch.stack(expected), atol=1e-6)


def test_hue_is_torchvisions():
    images = photos(side=64)
    pairs = zip(images, SHIFTS, strict=True)
    expected = torch.stack([reference.adjust_hue(image, shift) for image, shift in pairs])
    result = adjust_hue(images, per_image(SHIFTS))
    assert torch.allclose(result, expected, atol=1e-4)


def test_changes_are_relative_to_one():
    """A brightness of -0.2 is torchvision's factor 0.8, and so on."""
    images = photos()
    for name in ("brightness", "contrast"):
        expected = getattr(reference, f"adjust_{name}")(images[0], 0.8)
        assert torch.allclose(apply(images, **{name: -0.2})[0], expected, atol=1e-6)
    expected = reference.adjust_hue(images[0], 0.2)
    assert torch.allclose(apply(images, hue=0.2)[0], expected, atol=1e-4)


def test_a_third_of_the_circle_turns_red_into_green():
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    green = torch.tensor([0.0, 1, 0]).reshape(1, 3, 1, 1)
    assert torch.allclose(apply(red, hue=1 / 3), green, atol=1e-6)


def test_grey_has_no_hue():
    grey = photos(channels=1)
    assert torch.equal(apply(grey, hue=0.4), grey)
    assert torch.allclose(apply(grey.expand(-1, 3, -1, -1), hue=0.4), grey, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels):
    with pytest.raises(MeddiffError, match=rf"\b{channels} channels"):
        augment(photos(channels=channels), np.arange(6), EVERYTHING, *KEY)


@pytest.mark.parametrize("channels", [1, 3])
@given(seed=st.integers(0, 2**32))
def test_values_stay_in_range(channels, seed):
    changed = augment(photos(channels=channels), np.arange(6), EVERYTHING, seed)
    assert changed.shape == (6, channels, 16, 16) and changed.dtype == torch.float32
    assert changed.min() >= 0 and changed.max() <= 1 and changed.isfinite().all()


# What is drawn


@pytest.mark.parametrize("name", Changes._fields[:3])
@pytest.mark.parametrize("probability", [0, 0.25, 0.5, 1])
def test_chances_happen_as_often_as_set(name, probability):
    """Within five standard deviations of the binomial distribution; 0 is never, 1 always."""
    count = 10_000
    settings = AugmentationSettings.model_validate({name: probability})
    drawn = getattr(draw_changes(np.arange(count), settings, *KEY), name)
    bound = 5 * math.sqrt(count * probability * (1 - probability))
    assert abs(drawn.sum().item() - count * probability) <= bound


@pytest.mark.parametrize("name", Changes._fields[3:])
def test_amounts_are_uniform_in_both_directions(name):
    largest = 0.4
    settings = AugmentationSettings.model_validate({name: largest})
    drawn = getattr(draw_changes(np.arange(10_000), settings, *KEY), name) / largest
    assert drawn.abs().max() <= 1
    shares = torch.histc(drawn, bins=10, min=-1, max=1) / len(drawn)
    assert shares.tolist() == pytest.approx([0.1] * 10, abs=5 * math.sqrt(0.09 / 10_000))


def test_kinds_of_change_are_independent():
    drawn = draw_changes(np.arange(10_000), EVERYTHING, *KEY)
    correlations = np.corrcoef([tensor.double().numpy() for tensor in drawn])
    assert np.abs(correlations - np.eye(8)).max() < 0.05


SECTIONS = st.builds(
    AugmentationSettings,
    **dict.fromkeys(Changes._fields[:3], st.floats(0, 1)),
    rotation=st.floats(0, 180),
    hue=st.floats(0, 0.5),
    **dict.fromkeys(("zoom", "brightness", "contrast"), st.floats(0, 1, exclude_max=True)),
)


@given(SECTIONS, st.integers(0, 2**32))
def test_draws_respect_their_limits(settings, seed):
    drawn = draw_changes(np.arange(64), settings, seed)
    for name in Changes._fields[3:]:
        assert getattr(drawn, name).abs().max() <= np.float32(getattr(settings, name))
    for name in Changes._fields[:3]:
        assert getattr(settings, name) not in (0, 1) or bool(
            (getattr(drawn, name) == getattr(settings, name)).all()
        )


@given(st.lists(st.integers(0, 500), max_size=20))
def test_a_draw_depends_on_the_row_alone(rows):
    members = np.array(rows, dtype=np.int64)
    every = draw_changes(np.arange(501), EVERYTHING, *KEY)
    for some, all_rows in zip(draw_changes(members, EVERYTHING, *KEY), every, strict=True):
        assert torch.equal(some, all_rows[torch.from_numpy(members)])


def test_a_draw_depends_on_no_other_setting():
    rows = np.arange(100)
    flips = draw_changes(rows, AugmentationSettings(flip_vertical=0.5), *KEY).flip_vertical
    both = draw_changes(rows, AugmentationSettings(flip_vertical=0.5, rotation=9, hue=0.1), *KEY)
    assert torch.equal(both.flip_vertical, flips)


@pytest.mark.parametrize(
    "other",
    [(1, *KEY[1:]), (*KEY[:2], "ddpm y", 1), (*KEY[:3], 2)],
    ids=["seed", "name", "epoch"],
)
def test_draws_repeat_for_one_key_and_differ_for_another(other):
    rows = np.arange(50)
    first, again, others = (draw_changes(rows, EVERYTHING, *k) for k in (KEY, KEY, other))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, others, strict=True))


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_batch_size_changes_no_image(size, channels):
    images, rows = photos(20, channels), np.arange(20)
    whole = augment(images, rows, EVERYTHING, *KEY)
    parts = [
        augment(images[i : i + size], rows[i : i + size], EVERYTHING, *KEY)
        for i in range(0, 20, size)
    ]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


# Training

TINY = {
    "steps": 6,
    "batch_size": 4,
    "lr": 1e-3,
    "network": {
        "channels": [8, 16],
        "attention": [False, True],
        "head_channels": 8,
        "norm_groups": 4,
    },
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


def train(images: np.ndarray, seed: int = 0, validation: np.ndarray | None = None, **changes):
    settings = DiffusionSettings.model_validate({**TINY, **changes})
    return train_ddpm(images, settings, seed=seed, name="x", validation=validation)


def same_weights(a, b) -> bool:
    return all(torch.equal(weight, b.weights[key]) for key, weight in a.weights.items())


def test_augmented_training_is_a_function_of_the_seed(images):
    first, again, other = (train(images, seed, augmentation="isic2016") for seed in (0, 0, 1))
    assert same_weights(first, again) and first.history.equals(again.history)
    assert not same_weights(first, other)


@pytest.mark.parametrize("chosen", ["hand", "isic2016", {"invert": 0.5}])
def test_augmentation_reaches_the_net(images, chosen):
    plain, augmented = train(images), train(images, augmentation=chosen)
    assert not same_weights(plain, augmented)
    assert plain.history["loss"].iloc[0] != augmented.history["loss"].iloc[0]


def test_neutral_settings_train_as_none(images):
    assert same_weights(train(images), train(images, augmentation={"rotation": 0}))


@pytest.mark.parametrize("pixel_range", [(-1, 1), (0, 1)])
def test_augmented_images_are_in_the_nets_range(images, pixel_range, monkeypatch):
    """With certain inversion the net sees the negatives, in its own range."""
    seen = []
    loss = steps.denoising_loss
    monkeypatch.setattr(
        steps,
        "denoising_loss",
        lambda network, schedule, clean, *rest, **options: (
            seen.append(clean) or loss(network, schedule, clean, *rest, **options)
        ),
    )
    settings = {"steps": 1, "batch_size": 8, "schedule": {"pixel_range": pixel_range}}
    train(images, **settings, augmentation={"invert": 1})
    order = next(batches(8, 8, 1, 0, "order", "ddpm x")).members
    negatives = torch.from_numpy(255 - images[order])
    assert torch.allclose(seen[0], to_model_range(to_unit_range(negatives), pixel_range), atol=1e-6)


def draws_of_a_training(images, monkeypatch, **changes) -> dict[tuple, dict[int, tuple]]:
    """Return what was drawn in a training: by key, then by row."""
    drawn_by_key: dict[tuple, dict[int, tuple]] = {}

    def spy(rows, settings, *key):
        drawn = draw_changes(rows, settings, *key)
        per_row = zip(*(tensor.tolist() for tensor in drawn), strict=True)
        drawn_by_key.setdefault(key, {}).update(zip(rows.tolist(), per_row, strict=True))
        return drawn

    monkeypatch.setattr(augmentation, "draw_changes", spy)
    train(images, seed=5, augmentation="isic2016", **changes)
    return drawn_by_key


def test_training_draws_anew_each_epoch_whatever_the_batches(images, monkeypatch):
    small = draws_of_a_training(images, monkeypatch, batch_size=2, steps=8)
    split = draws_of_a_training(images, monkeypatch, batch_size=2, gradient_accumulation=2, steps=4)
    whole = draws_of_a_training(images, monkeypatch, batch_size=8, steps=2)
    assert small == split == whole
    assert list(small) == [(5, "augmentation", "ddpm x", epoch) for epoch in (1, 2)]
    first, second = small.values()
    assert first.keys() == second.keys() == set(range(8))
    assert all(first[row] != second[row] for row in first)


def test_validation_images_are_never_augmented(images):
    """With a rate of almost nothing the net stays as it was, and so must its validation loss."""
    still = {"lr": 1e-30, "lr_schedule": "constant", "ema": None, "steps": 2}
    plain = train(images, validation=images, **still)
    augmented = train(images, validation=images, augmentation="hand", **still)
    losses = [t.history["validation_loss"].dropna().tolist() for t in (plain, augmented)]
    assert losses[0] == losses[1] and len(losses[0]) == 1


# Settings


def chosen(value: object) -> DiffusionSettings:
    return load_config({"diffusion": {"augmentation": value}}).diffusion


def test_none_is_the_default():
    assert load_config({}).diffusion.augmentation == "none"
    assert PRESETS["none"] == AugmentationSettings()


def test_names_are_those_of_the_presets():
    assert set(get_args(AugmentationName)) == set(PRESETS)


def test_hand_is_the_studys():
    own = {"flip_horizontal": 0.5, "flip_vertical": 0.5, "invert": 0.25}
    assert PRESETS["hand"] == chosen(own).augmentation


def test_isic2016_makes_every_change_that_the_study_names():
    preset = PRESETS["isic2016"].model_dump()
    assert {name for name, amount in preset.items() if amount} == set(preset) - {"invert"}


def test_the_manual_states_the_presets_amounts():
    row = next(line for line in manual().splitlines() if "`diffusion.augmentation`" in line)
    for name in ("rotation", "zoom", "brightness", "contrast", "hue"):
        assert f"{name} {getattr(PRESETS['isic2016'], name):g}" in row


@pytest.mark.parametrize("value", ["none", "hand", "isic2016", {}, {"rotation": 10, "invert": 1}])
def test_settings_survive_the_way_to_the_job(value):
    settings = chosen(value).for_class("benign")
    assert settings.augmentation == chosen(value).augmentation
    assert DiffusionSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("flips", r"= 'flips': .*none, hand, isic2016\b.*flip_horizontal"),
        (None, r"= None: .*none, hand, isic2016"),
        (["hand"], r"= \['hand'\]: .*none, hand, isic2016"),
        ({"rotatoin": 3}, r"\brotatoin\b.*flip_horizontal, flip_vertical, invert, rotation"),
        ({"rotation": 181}, r"\.rotation = 181: .*\b180\b"),
        ({"rotation": -1}, r"\.rotation = -1: .*\b0\b"),
        ({"invert": 1.5}, r"\.invert = 1\.5: .*\b1\b"),
        ({"invert": True}, r"\.invert = True: .*number"),
        ({"zoom": 1}, r"\.zoom = 1: .*\b1\b"),
        ({"brightness": 2}, r"\.brightness = 2: .*\b1\b"),
        ({"hue": 0.6}, r"\.hue = 0\.6: .*0\.5\b"),
        ({"hue": math.nan}, r"\.hue = nan: "),
    ],
)
def test_a_fault_is_one_line_with_its_key(value, message):
    with pytest.raises(MeddiffError, match=rf"diffusion\.augmentation.*{message}") as caught:
        chosen(value)
    assert len(str(caught.value).splitlines()) == 1
