"""Index images: size, encoding, digests and perceptual hash of each."""

import base64
import hashlib
import io
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from scipy.fft import dctn

from meddiff.core.errors import MeddiffError, detached, first_names, listing_error
from meddiff.core.progress import OnProgress
from meddiff.data.readers.decode import FORMATS, decode_grey, decode_mask, decode_rgb
from meddiff.data.readers.depth import NO_WINDOWS, MissingWindowError, Windows
from meddiff.data.readers.frames import encoding_of
from meddiff.data.readers.members import map_members
from meddiff.data.readers.windows import choose_windows, window_texts

log = logging.getLogger(__name__)

THUMBNAIL = 16
"""Side of the thumbnails, in pixels."""
SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""Chroma subsampling by Pillow's numbers of it."""

NUMBERS = {
    **{"width": "int64", "height": "int64", "group": "Int64", "rank": "Int64"},
    "selected": "bool",
}
"""Columns of an index that are not text."""

Result = tuple[int, dict[str, object] | MeddiffError]
Rows = dict[int, dict[str, object]]
Deep = dict[int, MissingWindowError]
"""Images of more than 8 bits by place, with their types and ranges."""


def build_index(
    records: pd.DataFrame,
    *,
    grey: bool = False,
    windows: Windows = NO_WINDOWS,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> pd.DataFrame:
    """Decode every image, and its mask if it has one, and describe it.

    Args:
        records: table of `meddiff.data.sources`.
        windows: of all images of more than 8 bits, where the user sets one.

    Returns:
        The records with `width`, `height` (px, upright), `bytes_sha256` (of the file),
        `pixels_sha256` (of shape and decoded pixels), `phash` (64-bit DCT hash, 16 hexadecimal
        digits; Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"),
        `thumbnail` (16x16 grey, base64), `encoding` (from the header alone: format and mode, for
        JPEG the chroma subsampling and six digits of a digest of the quantisation tables, as in
        `JPEG 4:2:0 q3f2a1b`), where images have more than 8 bits, `window` (type of the pixels,
        the level that becomes black and the one that becomes white: one window for all images of a
        type), and, if there are masks, `mask_sha256`.

    Raises:
        MeddiffError: images are missing or unreadable, images of more than 8 bits have several
            ranges, or a mask has another size than its image.
    """
    decode = decode_grey if grey else decode_rgb
    names = _names(records, "member", "archive")
    locations = list(zip(records["archive"], records["member"], strict=True))

    def describe(positions: Sequence[int], windows: Windows) -> tuple[Rows, Deep]:
        def result(place: int, data: bytes) -> Result:
            position = positions[place]
            try:
                return position, _describe(data, decode(data, names[position], windows))
            except MeddiffError as error:
                return position, detached(error)

        chosen = [locations[position] for position in positions]
        return _collect(map_members(result, chosen, workers), names, progress)

    rows, deep = describe(range(len(locations)), windows)
    if deep:
        windows = choose_windows(list(deep.values()), len(locations))
        rows |= describe(list(deep), windows)[0]
    described = pd.DataFrame([rows[place] for place in range(len(rows))], index=records.index)
    if windows:
        described["window"] = _window_column(deep, windows, len(rows))
    texts = [name for name in described if name not in NUMBERS]
    index = records.join(described.astype(dict.fromkeys(texts, "string")))
    log.info("indexed %d images", len(index))
    return _with_mask_digests(index, workers) if "mask_member" in index else index


def perceptual_hash(grey: NDArray[np.float64]) -> str:
    """Return the signs of a square thumbnail's 8x8 lowest DCT coefficients, 16 hex digits.

    They are relative to their median.
    """
    # Flat regions give coefficients that differ from zero by rounding only.
    low = dctn(grey, norm="ortho")[:8, :8].round(6)
    return np.packbits(low > np.median(low)).tobytes().hex()


def read_index(path: str | Path) -> pd.DataFrame:
    """Read an index, with or without splits, or the table of a packed image set.

    Returns:
        Columns of NUMBERS with their types, all others as strings; empty cells are `<NA>`.
    """
    types: dict[str, Any] = defaultdict(lambda: "string", NUMBERS)
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])


def check_unchanged(data: bytes, sha256: str, name: str) -> None:
    """Raise a MeddiffError if a file's bytes are not those that were indexed."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise MeddiffError(
            f"{name} changed since it was indexed: rerun with --forcerun index index_segmentation"
        )


def _names(records: pd.DataFrame, member: str, archive: str) -> list[str]:
    return [f"{m} in {a}" for m, a in zip(records[member], records[archive], strict=True)]


def _window_column(deep: Deep, windows: Windows, count: int) -> NDArray[np.object_]:
    """Return the window of each of so many images; of all where the user set one."""
    types = {place: image.type for place, image in deep.items()}
    types = types or dict.fromkeys(range(count), next(iter(windows)))
    texts = window_texts(pd.Series(types, dtype="string"), windows)
    return texts.reindex(range(count)).to_numpy()


def _collect(
    results: Iterator[Result], names: list[str], progress: OnProgress | None
) -> tuple[Rows, Deep]:
    """Return rows, and images that need a window; raise one error for all that failed."""
    rows: Rows = {}
    deep: Deep = {}
    failed: dict[int, MeddiffError] = {}
    for position, result in results:
        if isinstance(result, MissingWindowError):
            deep[position] = result
            continue
        if isinstance(result, MeddiffError):
            failed[position] = result
        else:
            rows[position] = result
        if progress:
            progress(1)
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise listing_error(
            f"{len(failed)} files are not readable images",
            [names[position] for position in sorted(failed)],
            "replace the files, or remove them and their rows of the table",
        )
    return rows, deep


def _describe(data: bytes, pixels: NDArray[np.uint8]) -> dict[str, object]:
    picture = Image.fromarray(pixels)
    small = picture.resize((2 * THUMBNAIL, 2 * THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
    grey = small.convert("L")
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return {
        "width": picture.width,
        "height": picture.height,
        "bytes_sha256": hashlib.sha256(data).hexdigest(),
        "pixels_sha256": _pixels_sha256(pixels),
        "phash": perceptual_hash(np.asarray(grey, float)),
        "thumbnail": base64.b64encode(thumbnail.tobytes()).decode(),
        "encoding": _encoding(data),
    }


def _encoding(data: bytes) -> str:
    """Return how a file is encoded, from its header."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if not isinstance(image, JpegImageFile):
            return encoding_of(image) or f"{image.format} {image.mode}"
        tables = repr([list(table) for _, table in sorted(image.quantization.items())])
        # Grey and CMYK have no chroma subsampling: their mode is used instead.
        sampling = SAMPLINGS.get(get_sampling(image), image.mode)
        return f"JPEG {sampling} q{hashlib.sha256(tables.encode()).hexdigest()[:6]}"


def _pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _with_mask_digests(index: pd.DataFrame, workers: int) -> pd.DataFrame:
    """Add the digest of each mask's file; masks must have the size of their images."""
    rows = index[index["mask_member"].notna()]
    names = _names(rows, "mask_member", "mask_archive")
    sizes = list(zip(rows["height"], rows["width"], strict=True))

    def digest(position: int, data: bytes) -> tuple[int, tuple[str, bool]]:
        mask = decode_mask(data, names[position])
        if mask.shape != sizes[position]:
            raise MeddiffError(
                f"{names[position]} is {mask.shape[1]}x{mask.shape[0]} px but its image is "
                f"{sizes[position][1]}x{sizes[position][0]}: replace the mask"
            )
        return position, (hashlib.sha256(data).hexdigest(), bool(mask.any()))

    locations = list(zip(rows["mask_archive"], rows["mask_member"], strict=True))
    digests = dict(map_members(digest, locations, workers))
    empty = [names[position] for position in range(len(rows)) if not digests[position][1]]
    if empty:
        log.warning("%d masks show no lesion: %s", len(empty), first_names(empty))
    column = pd.Series(
        [digests[position][0] for position in range(len(rows))], rows.index, dtype="string"
    )
    return index.assign(mask_sha256=column.reindex(index.index))
