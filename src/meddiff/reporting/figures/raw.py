"""Pictures of images as their sources published them."""

import pandas as pd
from PIL import Image, ImageDraw

from meddiff.data.readers.decode import decode_rgb
from meddiff.data.readers.members import map_members
from meddiff.data.readers.windows import windows_of
from meddiff.reporting.figures.grids import CAPTION, MARGIN, grid

SIDE = 128
N_PUBLISHED = 12
COLUMNS = 6


def published_sheet(rows: pd.DataFrame) -> Image.Image:
    """Return the first images of an index as published, whole, in a grid."""
    return grid(_thumbnails(rows.head(N_PUBLISHED)), COLUMNS, SIDE)


def near_pairs_sheet(index: pd.DataFrame, links: pd.DataFrame, count: int) -> Image.Image:
    """Return the near-duplicate pairs that are least alike, side by side."""
    near = links[links["kind"] == "near"].astype({"correlation": float})
    worst = near.sort_values(["correlation", "first", "second"]).head(count)
    rows = index.set_index("id")
    pairs = [_thumbnails(rows.loc[list(pair)]) for pair in worst[["first", "second"]].to_numpy()]
    captions = [
        f"{row.first}  {row.second}  r = {row.correlation:.3f}" for row in worst.itertuples()
    ]
    return _stack_pairs(pairs, captions, f"{len(near)} near-duplicate pairs; the least alike first")


def _stack_pairs(pairs: list[list[Image.Image]], captions: list[str], title: str) -> Image.Image:
    width, height = 2 * (SIDE + MARGIN) + 24, SIDE + MARGIN + CAPTION
    page = Image.new("RGB", (2 * width, CAPTION + -(-len(pairs) // 2) * height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((2, 2), title, fill="black")
    for number, (pair, caption) in enumerate(zip(pairs, captions, strict=True)):
        row, column = divmod(number, 2)
        left, top = column * width, CAPTION + row * height
        draw.text((left + 2, top + 2), caption, fill="black")
        for place, picture in enumerate(pair):
            page.paste(picture, (left + place * (SIDE + MARGIN), top + CAPTION))
    return page


def _thumbnails(rows: pd.DataFrame) -> list[Image.Image]:
    """Return the images of rows, whole, fitted into squares of SIDE px."""

    def reduce(position: int, data: bytes) -> tuple[int, Image.Image]:
        picture = Image.fromarray(decode_rgb(data, members[position], windows))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        return position, picture

    members, windows = list(rows["member"]), windows_of(rows)
    pictures = dict(map_members(reduce, list(zip(rows["archive"], members, strict=True))))
    return [pictures[position] for position in range(len(rows))]
