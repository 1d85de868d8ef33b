"""Random changes of training images, drawn for each image and epoch from named streams.

Images are float (N,C,H,W) in [0, 1] on any device, C is 1 or 3, and amounts of change (N,1,1,1).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from meddiff.core.devices import to_device
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.diffusion.pixels import to_uint8, to_unit_range
from meddiff.diffusion.settings import AugmentationSettings

PRESETS = {
    "none": AugmentationSettings(),
    "hand": AugmentationSettings(flip_horizontal=0.5, flip_vertical=0.5, invert=0.25),
    "isic2016": AugmentationSettings(
        flip_horizontal=0.5,
        flip_vertical=0.5,
        rotation=180,
        zoom=0.1,
        brightness=0.1,
        contrast=0.1,
        hue=0.02,
    ),
}
"""`hand` is the study's (section 5.1). Of `isic2016` the study names the kinds of change only
(section 5.2.2): the amounts are ours. They stand here and not with the settings since a model must
be trained again when they change, which the digest of the code sees."""

TORCHVISION_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the grey of ITU-R BT.601, as torchvision rounds them."""


class Changes(NamedTuple):
    """What happens to each of N images: tensors (N,) on the CPU; zeros change nothing.

    Attributes:
        flip_horizontal: bool, left and right change places.
        flip_vertical: bool, top and bottom change places.
        invert: bool, x becomes 1 - x.
        rotation: float32, counter-clockwise angle in degrees.
        zoom: float32, relative change of size; positive enlarges.
        brightness: float32, relative change of brightness.
        contrast: float32, relative change of contrast.
        hue: float32, shift along the colour circle as a share of its length.
    """

    flip_horizontal: Tensor
    flip_vertical: Tensor
    invert: Tensor
    rotation: Tensor
    zoom: Tensor
    brightness: Tensor
    contrast: Tensor
    hue: Tensor


def resolve_augmentation(chosen: str | AugmentationSettings) -> AugmentationSettings:
    """Return the section that a name stands for, and a section as it is."""
    return PRESETS[chosen] if isinstance(chosen, str) else chosen


def augment(
    images: Tensor, rows: np.ndarray, settings: AugmentationSettings, *key: int | str
) -> Tensor:
    """Change images at random, or return them where the settings are neutral.

    Which change an image gets depends on (key, its row) only.

    Args:
        rows: int (N,), row of each image in its data set.
        key: names the draw, e.g. ``seed, "augmentation", "ddpm benign", epoch``.
    """
    if settings == AugmentationSettings():
        return images
    return apply_changes(images, draw_changes(rows, settings, *key))


def augment_once(images: np.ndarray, settings: AugmentationSettings, *key: int | str) -> np.ndarray:
    """Return uint8 (N,H,W,C) changed at random, the same way every time for the same key."""
    unit = to_unit_range(torch.from_numpy(np.array(images)))
    changed = augment(unit, np.arange(len(images)), settings, *key)
    return to_uint8(changed, pixel_range=(0, 1)).numpy()


def draw_changes(rows: np.ndarray, settings: AugmentationSettings, *key: int | str) -> Changes:
    """Draw what happens to the images of the given rows.

    Every row has eight numbers of its own, one per kind of change. So neither the other rows nor
    the other settings matter: a larger `rotation` flips the same images.

    Args:
        settings: probabilities of the first three changes, largest amounts of the others.
    """
    size = (int(rows.max(initial=-1)) + 1, len(Changes._fields))
    uniform = dict(zip(Changes._fields, stream(*key).random(size)[rows].T, strict=True))

    def draw(name: str) -> Tensor:
        largest: float = getattr(settings, name)
        if name in ("flip_horizontal", "flip_vertical", "invert"):
            return torch.from_numpy(uniform[name] < largest)
        return torch.from_numpy(largest * (2 * uniform[name] - 1)).float()

    return Changes(*map(draw, Changes._fields))


def describe(changes: Changes, settings: AugmentationSettings) -> Tensor:
    """Return what a net is given of changes, float32 (N, `CHANGES`); zeros where nothing changed.

    Flips and inversion are 0 or 1, the angle is its sine and its cosine less 1, so that half a turn
    either way is the same, and the others are shares of their largest amount.
    """
    angle = changes.rotation.deg2rad()
    columns = [*changes[:3], angle.sin(), angle.cos() - 1]
    for name in ("zoom", "brightness", "contrast", "hue"):
        columns.append(getattr(changes, name) / (getattr(settings, name) or 1))
    return torch.stack([column.float() for column in columns], dim=1)


def apply_changes(images: Tensor, changes: Changes) -> Tensor:
    """Flip, invert, rotate and zoom, then change brightness, contrast and hue, in this order.

    Flips and inversion are exact. Grey images have no hue, so that its change leaves them alone.

    Raises:
        MeddiffError: images have neither 1 nor 3 channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise MeddiffError(f"augmentation takes grey or RGB images, not {channels} channels")
    on = _on_device(changes, images.device)
    images = torch.where(on.flip_horizontal, images.flip(-1), images)
    images = torch.where(on.flip_vertical, images.flip(-2), images)
    images = torch.where(on.invert, 1 - images, images)
    if changes.rotation.any() or changes.zoom.any():
        images = rotate_and_zoom(images, on.rotation, 1 + on.zoom)
    images = adjust_brightness(images, 1 + on.brightness)
    images = adjust_contrast(images, 1 + on.contrast)
    if channels == 3 and changes.hue.any():
        images = adjust_hue(images, on.hue)
    return images.clamp(0, 1)


def _on_device(changes: Changes, device: torch.device) -> Changes:
    """Return changes as (N,1,1,1), in one copy."""
    table = to_device(torch.stack([each.float() for each in changes]), device)
    columns = (column.reshape(-1, 1, 1, 1) for column in table)
    return Changes(*(c.to(each.dtype) for c, each in zip(columns, changes, strict=True)))


@cache
def _constant(values: tuple[float, ...], device: torch.device, kind: torch.dtype) -> Tensor:
    """Return values per channel, (C,1,1); kept, since each copy to a GPU lets the CPU wait."""
    return torch.tensor(values, device=device, dtype=kind).reshape(-1, 1, 1)


def rotate_and_zoom(images: Tensor, angle: Tensor, factor: Tensor) -> Tensor:
    """Rotate and zoom about the centre in one bilinear resampling.

    What comes into view beyond the border is the image mirrored there. The angle is
    counter-clockwise, in degrees; a factor above 1 enlarges.
    """
    height, width = images.shape[-2:]
    # Plain products, where affine_grid's matrix product may round otherwise in other batches.
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    x, y = x.reshape(1, 1, -1), y.reshape(1, -1, 1)
    turn = angle.deg2rad()[:, 0]
    cos, sin = turn.cos() / factor[:, 0], turn.sin() / factor[:, 0]
    across, down = (cos * x - sin * y) * 2 / width, (sin * x + cos * y) * 2 / height
    grid = torch.stack((across, down), dim=-1)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by one factor per image; torchvision's `adjust_brightness` takes one for all."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply distances to the image's mean grey; torchvision's `adjust_contrast`, batched."""
    grey = images
    if images.shape[1] == 3:
        weights = _constant(TORCHVISION_LUMA, images.device, images.dtype)
        grey = (images * weights).sum(1, keepdim=True)
    mean = grey.mean((1, 2, 3), keepdim=True)
    return (images * factor + mean * (1 - factor)).clamp(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of HSV (Smith 1978) of RGB images; torchvision's `adjust_hue`, batched.

    The shift is a share of the colour circle, in [-0.5, 0.5].
    """
    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    red, green, blue = (images / chroma.where(chroma > 0, 1)).split(1, dim=1)
    top_red, top_green = (images[:, i : i + 1] == value for i in (0, 1))
    # The hue in sixths of the circle: red is 0, green is 2, blue is 4.
    hue = torch.where(top_green, blue - red + 2, red - green + 4)
    hue = torch.where(top_red, green - blue, hue) + 6 * shift
    # A channel lies below the maximum by as much as the hue is away from its own third.
    away = (hue + _constant((5, 3, 1), images.device, images.dtype)) % 6
    return value - chroma * torch.minimum(away, 4 - away).clamp(0, 1)
