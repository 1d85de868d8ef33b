"""Frames, slices and rows of arrays as image files in memory, which the one decoder reads."""

import io
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meddiff.core.errors import MeddiffError

TAG = 65_001
"""Private TIFF tag with what a frame's file says of its levels."""
STORED = {"uint8": np.uint8, "uint16": np.uint16, "int8": np.int32, "int16": np.int32,
          "int32": np.int32}  # fmt: skip
"""Types of levels as they are stored; all others become float32."""
LARGEST = 89_478_485
"""Pixels of the largest image that is read: Pillow's own limit, a quarter of a GiB of RGB."""

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Levels in rising order, and the grey in [0, 255] of each; linear between them."""


@dataclass(frozen=True)
class Tones:
    """What a file says of how its levels look.

    Attributes:
        curve: from levels to grey, where the file has one.
        inverted: high levels are dark.
        percentiles: of the levels of the whole volume, evenly spaced from 0 to 100.
    """

    curve: Curve | None = None
    inverted: bool = False
    percentiles: tuple[float, ...] | None = None


PLAIN = Tones()


@dataclass(frozen=True)
class Entry:
    """An image of a file, by the file's header.

    Attributes:
        key: of the image in its file, e.g. the number of a slice; empty: the file has one image.
        label: its class, where the file says so.
        group: its patient, as a keyed digest, where the file says so; empty: the file is the group.
    """

    key: str
    label: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Frame:
    """One image of a file.

    Attributes:
        levels: (height, width) of any number or truth type, or uint8 (height, width, 3).
        tones: how levels become grey.
        encoding: of the file, as in `DICOM MONOCHROME2 JPEG 2000`.
    """

    levels: NDArray[Any]
    encoding: str
    tones: Tones = PLAIN


def to_bytes(frame: Frame) -> bytes:
    """Return a frame as an uncompressed TIFF.

    The type of the levels alone decides how they are stored, so that images of a set have one type.
    """
    levels = frame.levels
    if levels.dtype == bool:
        levels = np.where(levels, np.uint8(255), np.uint8(0))
    else:
        levels = levels.astype(STORED.get(levels.dtype.name, np.float32), copy=False)
    content = json.dumps(asdict(frame.tones) | {"encoding": frame.encoding})
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(levels))
    image.save(file, "TIFF", tiffinfo={TAG: content})
    return file.getvalue()


def tones_of(image: Image.Image) -> Tones:
    """Return what an opened image's file says of its levels; PLAIN for files of others."""
    content = _content(image)
    content.pop("encoding", None)
    curve, percentiles = content.get("curve"), content.get("percentiles")
    return Tones(
        curve and (tuple(curve[0]), tuple(curve[1])),
        bool(content.get("inverted")),
        percentiles and tuple(percentiles),
    )


def encoding_of(image: Image.Image) -> str | None:
    """Return how the file of a frame is encoded; None for files of others."""
    return _content(image).get("encoding")


def chosen(count: int, slices: int | Literal["middle"]) -> list[int]:
    """Return which of a file's slices or frames are read: the middle one, or every k-th."""
    return [count // 2] if slices == "middle" else list(range(0, count, slices))


def check_pixels(height: int, width: int, name: str) -> None:
    """Refuse an image of too many pixels, or of none, before its memory is taken."""
    if not 0 < height * width <= LARGEST:
        raise MeddiffError(
            f"{name} has images of {width}x{height} pixels, where 1 to {LARGEST / 1e6:.1f} million "
            "are read: replace the file, or reduce its images"
        )


def _content(image: Image.Image) -> dict[str, Any]:
    tags: Any = getattr(image, "tag_v2", {})
    try:
        content = json.loads(tags[TAG])
    except (KeyError, TypeError, ValueError):
        return {}
    return content if isinstance(content, dict) and "encoding" in content else {}
