"""Crop and resize arrays of pixels as torchvision does."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meddiff.core.errors import MeddiffError

Crop = tuple[int, int, int]
"""Top, left and side of a square, px."""

LARGE = 128
"""Squares with at least this side, in px, are resized by torch; for others its import is slower."""


def preprocess(image: NDArray[np.uint8], *, crop: int | None, size: int) -> NDArray[np.uint8]:
    """Crop the centre and resize bilinearly with anti-aliasing, as torchvision does.

    Args:
        image: uint8, (height, width) or (height, width, 3).
        crop: side of the centred square in px, or None for the largest.

    Returns:
        uint8, (size, size) or (size, size, 3).

    Raises:
        MeddiffError: the image is smaller than the crop.
    """
    square = cut(np.atleast_3d(image), centre_crop(image.shape[0], image.shape[1], crop))
    return resize_bilinear([square], size).reshape(size, size, *image.shape[2:])


def preprocess_mask(mask: NDArray[np.uint8], *, crop: int | None, size: int) -> NDArray[np.uint8]:
    """Crop and resize a mask as `preprocess` its image: uint8, 255 where half is lesion, else 0.

    Args:
        mask: (height, width); lesion where a value exceeds half of the largest (0/1, 0/255).
    """
    binary = np.where(mask > mask.max() / 2, np.uint8(255), np.uint8(0))
    square = cut(binary[..., None], centre_crop(mask.shape[0], mask.shape[1], crop))
    area = _pillow_resize(square, size, Image.Resampling.BOX)[..., 0]
    return np.where(area >= 128, np.uint8(255), np.uint8(0))


def centre_crop(height: int, width: int, crop: int | None) -> Crop:
    """Return the centred square of side `crop` px, or the largest one for None."""
    side = crop or min(height, width)
    if side > min(height, width):
        raise MeddiffError(
            f"the image is {width}x{height} px, smaller than the crop of {side}: lower the crop or "
            "remove the image and its row of the table"
        )
    # Rounds half to even, as torchvision does.
    return round((height - side) / 2), round((width - side) / 2), side


def cut(image: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """Copy a square out of (height, width, channels)."""
    top, left, side = crop
    channels = image.shape[2]
    # As rows of bytes: NumPy would copy a view of pixels three bytes at a time.
    rows = image.reshape(len(image), -1)
    square = rows[top : top + side, channels * left : channels * (left + side)]
    return np.ascontiguousarray(square).reshape(side, side, channels)


def resize_bilinear(squares: list[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Resize n squares (side, side, channels), anti-aliased: uint8 (n, size, size, channels)."""
    side, _, channels = squares[0].shape
    if channels == 3 and side >= LARGE and side != size:
        return _torch_resize(squares[0][None] if len(squares) == 1 else np.stack(squares), size)
    if side != size:
        squares = [_pillow_resize(square, size, Image.Resampling.BILINEAR) for square in squares]
    return np.stack(squares)


def _torch_resize(squares: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize as Pillow does to within two grey levels, several times as fast.

    Both round to whole levels after the rows and again after the columns, with weights of different
    precision: each is within 1 level of the unrounded result, rarely in opposite directions.
    """
    # Not at the top, since importing torch takes seconds.
    import torch
    from torch.nn.functional import interpolate

    writable = np.require(squares, requirements=["C", "W"])
    batch = torch.from_numpy(writable).permute(0, 3, 1, 2)
    small = interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = small.permute(0, 2, 3, 1).numpy()
    return pixels


def _pillow_resize(
    square: NDArray[np.uint8], size: int, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    channels = square.shape[2]
    picture = Image.fromarray(square if channels == 3 else square[..., 0])
    return np.asarray(picture.resize((size, size), resampling)).reshape(size, size, channels)
