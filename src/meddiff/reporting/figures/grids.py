"""Contact sheets: images side by side, enlarged without smoothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from meddiff.core.files import atomic_write

MARGIN = 2
CAPTION = 16


def contact_sheet(images: np.ndarray, *, columns: int = 12, side: int = 64) -> Image.Image:
    """Return a grid of images, row by row.

    Args:
        images: uint8 (N,H,W,C) with one or three channels.
        side: side of each image in the sheet, px; a whole multiple of H looks best.
    """
    pictures = (Image.fromarray(pixels.squeeze()).convert("RGB") for pixels in images)
    nearest = Image.Resampling.NEAREST
    return grid([each.resize((side, side), nearest) for each in pictures], columns, side)


def grid(pictures: Sequence[Image.Image], columns: int, side: int) -> Image.Image:
    """Return pictures of `side` px at most, row by row."""
    step = side + MARGIN
    sheet = Image.new("RGB", (columns * step, -(-len(pictures) // columns) * step), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet.paste(picture, (column * step, row * step))
    return sheet


def stages(images: np.ndarray, titles: Sequence[str] = ()) -> Image.Image:
    """Return one column per stage of images (stages,N,H,W,C), so that a row shows one image."""
    columns = [contact_sheet(stage, columns=1) for stage in images]
    top = CAPTION if titles else 0
    width = max((column.width for column in columns), default=0)
    height = max((column.height for column in columns), default=0) + top
    page = Image.new("RGB", (max(1, width * len(columns)), max(1, height)), "white")
    for number, column in enumerate(columns):
        page.paste(column, (number * width, top))
    draw = ImageDraw.Draw(page)
    for number, title in enumerate(titles):
        draw.text((number * width + 2, 2), title, fill="black")
    return page


def outline(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Draw the edge of each mask (N,H,W,1), 0 or 255, into its image (N,H,W,3), in green."""
    inside = masks[..., 0] > 0
    core = np.stack([binary_erosion(mask, border_value=1) for mask in inside])
    return np.where((inside & ~core)[..., None], np.array([0, 255, 0], np.uint8), images)


def titled_sheets(sheets: Mapping[str, Image.Image]) -> Image.Image:
    """Stack contact sheets, each under its title."""
    width = max(sheet.width for sheet in sheets.values())
    height = sum(sheet.height + CAPTION for sheet in sheets.values())
    page = Image.new("RGB", (width, height), "white")
    draw, top = ImageDraw.Draw(page), 0
    for title, sheet in sheets.items():
        draw.text((2, top + 2), title, fill="black")
        page.paste(sheet, (0, top + CAPTION))
        top += sheet.height + CAPTION
    return page


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
