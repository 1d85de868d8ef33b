"""Index images: decode each once, record its size and digests, and find duplicates."""

import base64
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from meddiff.data.archive import map_members
from meddiff.data.decode import decode_grey, decode_rgb
from meddiff.data.sources import read_strings, several
from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)

MAX_HAMMING = 12
"""Largest distance of the hashes of near duplicates, in bits of 64."""
MAX_RESIDUAL = 0.1
"""Largest mean residual of aligned thumbnails, in standard deviations of their grey levels."""
MAX_HUE = 0.04
"""Largest difference of log(red / green) and of log(blue / green) of the mean colours."""
MIN_CONTRAST = 4.0
"""Standard deviation in grey levels that flatter thumbnails count as having."""

THUMBNAIL = 16
NUMBERS = {"width": "int64", "height": "int64", "group": "Int64", "rank": "Int64"}

Progress = Callable[[int], object]


def build_index(
    records: pd.DataFrame, *, grey: bool = False, workers: int = 1, progress: Progress | None = None
) -> pd.DataFrame:
    """Decode every image, and mask if there are any, once, and describe it.

    Args:
        records: table of `meddiff.data.sources`.
        grey: decode to grey instead of RGB.
        workers: threads; they never change the result.
        progress: called with the number of images just done.

    Returns:
        The records with `width`, `height` (px, upright), `bytes_sha256` (of the file),
        `pixels_sha256` (of shape and decoded pixels), `phash` (64-bit DCT hash, 16 hexadecimal
        digits; Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"),
        `colour` (mean RGB, 6 hexadecimal digits), `thumbnail` (16x16 grey, base64), and, where
        there are masks, `mask_sha256`.

    Raises:
        MeddiffError: images are missing or unreadable (up to five are named), or a mask has
            another size than its image.
    """
    decode = decode_grey if grey else decode_rgb

    def describe(position: int, data: bytes) -> tuple[int, dict[str, object] | MeddiffError]:
        try:
            return position, _describe(data, decode(data, names[position]))
        except MeddiffError as error:
            return position, error

    names = _names(records, "member", "archive")
    places = list(zip(records["archive"], records["member"], strict=True))
    rows = _collect(map_members(describe, places, workers), names, progress)
    described = pd.DataFrame(rows, index=records.index)
    texts = [name for name in described if name not in NUMBERS]
    index = records.join(described.astype(dict.fromkeys(texts, "string")))
    log.info("indexed %d images", len(index))
    return _with_mask_digests(index, workers) if "mask_member" in index else index


def find_duplicates(index: pd.DataFrame) -> pd.DataFrame:
    """Group images that must share a split, and name the repeated ones among them.

    Duplicates have the same pixels, or nearly: hashes within MAX_HAMMING bits, mean colours within
    MAX_HUE, and thumbnails that agree to MAX_RESIDUAL once gain, offset, shift and zoom are fitted
    to first order (Lucas and Kanade 1981). So images re-encoded, rescaled, cropped by 3 % in all or
    changed by 3 % in brightness are found, flipped or rotated ones are not. Nothing depends on the
    order of rows.

    Args:
        index: table of `build_index`, unique by (edition, id).

    Returns:
        A table with the rows of `index`: `group`, the connected component over duplicates, shared
        patients and shared lesions, and `duplicate_of`, the id of the first duplicate in
        (edition, id) order, `<NA>` for that one itself.
    """
    table = index.sort_values(["edition", "id"], kind="stable")
    same_pixels = _same(table["pixels_sha256"])
    alike = np.concatenate([same_pixels, _near_duplicates(table)])
    kin = np.concatenate([alike, _same(table["patient"]), _same(table["lesion"])])
    first = _first_of_component(alike, len(table))
    ids = table["id"].astype("string").to_numpy()
    found = pd.DataFrame(
        {
            "group": pd.Series(_components(kin, len(table)), table.index, dtype="Int64"),
            "duplicate_of": pd.Series(ids[first], table.index, dtype="string"),
        }
    )
    found.loc[first == np.arange(len(table)), "duplicate_of"] = pd.NA
    _log_groups(table.assign(group=found["group"]), found["duplicate_of"].notna().sum())
    return found.loc[index.index]


def near_pairs(hashes: NDArray[np.uint64], limit: int) -> Iterator[NDArray[np.intp]]:
    """Yield blocks of index pairs (n, 2), first < second, whose hashes differ in <= `limit` bits.

    Args:
        hashes: 64-bit hashes, (n,).
        limit: largest Hamming distance in bits.
    """
    block = 64
    for start in range(0, len(hashes), block):
        distance = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, start:])
        pairs = np.argwhere(distance <= limit)
        yield pairs[pairs[:, 0] < pairs[:, 1]] + start


def perceptual_hash(grey: NDArray[np.float64]) -> str:
    """Return the signs of the 8x8 lowest DCT coefficients about their median, 16 hex digits.

    Args:
        grey: a square thumbnail of at least 8x8.
    """
    # Flat regions give coefficients that differ from zero by rounding only.
    low = dctn(grey, norm="ortho")[:8, :8].round(6)
    return np.packbits(low > np.median(low)).tobytes().hex()


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of records as CSV; `read_table` gives it back."""
    table.to_csv(path, index=False, lineterminator="\n")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of records with its types: digests and ids stay strings.

    Raises:
        MeddiffError: the file is missing or no table.
    """
    table = read_strings(path, str(path)).reset_index(drop=True)
    types = {name: kind for name, kind in NUMBERS.items() if name in table}
    if "selected" in table:
        table["selected"] = (table["selected"] == "True").astype(bool)
    return table.astype(types)


def _names(records: pd.DataFrame, member: str, archive: str) -> list[str]:
    return [f"{m} in {a}" for m, a in zip(records[member], records[archive], strict=True)]


def _collect(
    results: Iterator[tuple[int, dict[str, object] | MeddiffError]],
    names: list[str],
    progress: Progress | None,
) -> list[dict[str, object]]:
    """Put results in the records' order, or raise for all that failed together."""
    rows: dict[int, dict[str, object]] = {}
    failed: dict[int, MeddiffError] = {}
    for position, result in results:
        if isinstance(result, MeddiffError):
            failed[position] = result
        else:
            rows[position] = result
        if progress:
            progress(1)
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise several(
            f"{len(failed)} files are not readable images",
            [names[position] for position in sorted(failed)],
            "replace the files, or remove them and their metadata rows",
        )
    return [rows[position] for position in range(len(names))]


def _describe(data: bytes, pixels: NDArray[np.uint8]) -> dict[str, object]:
    picture = Image.fromarray(pixels)
    small = picture.resize((2 * THUMBNAIL, 2 * THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
    grey = small.convert("L")
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    colour = np.asarray(small.convert("RGB")).mean((0, 1)).round().astype(np.uint8)
    return {
        "width": picture.width,
        "height": picture.height,
        "bytes_sha256": hashlib.sha256(data).hexdigest(),
        "pixels_sha256": _pixels_sha256(pixels),
        "phash": perceptual_hash(np.asarray(grey, float)),
        "colour": colour.tobytes().hex(),
        "thumbnail": base64.b64encode(thumbnail.tobytes()).decode(),
    }


def _pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _with_mask_digests(index: pd.DataFrame, workers: int) -> pd.DataFrame:
    """Add the digest of each mask's file, having seen that it fits its image."""
    rows = index[index["mask_member"].notna()]
    names = _names(rows, "mask_member", "mask_archive")
    sizes = list(zip(rows["height"], rows["width"], strict=True))

    def digest(position: int, data: bytes) -> tuple[int, str]:
        mask = decode_grey(data, names[position])
        if mask.shape != sizes[position]:
            raise MeddiffError(
                f"{names[position]} is {mask.shape[1]}x{mask.shape[0]} px but its image is "
                f"{sizes[position][1]}x{sizes[position][0]}: replace the mask"
            )
        return position, hashlib.sha256(data).hexdigest()

    places = list(zip(rows["mask_archive"], rows["mask_member"], strict=True))
    digests = dict(map_members(digest, places, workers))
    column = pd.Series(
        [digests[position] for position in range(len(rows))], rows.index, dtype="string"
    )
    return index.assign(mask_sha256=column.reindex(index.index))


def _same(keys: pd.Series) -> NDArray[np.intp]:
    """Return pairs (n, 2) that join each row to the first with its key; `<NA>` joins nothing."""
    codes, _ = pd.factorize(keys)
    rows = np.flatnonzero(codes >= 0)
    _, first, inverse = np.unique(codes[rows], return_index=True, return_inverse=True)
    return np.stack([rows[first][inverse], rows], axis=1)


def _near_duplicates(table: pd.DataFrame) -> NDArray[np.intp]:
    """Return pairs (n, 2) of rows that look alike, of one row for each distinct image."""
    rows = np.flatnonzero(~table["pixels_sha256"].duplicated())
    distinct = table.iloc[rows]
    hashes = np.array([int(digits, 16) for digits in distinct["phash"]], np.uint64)
    thumbnails = _unpack(map(base64.b64decode, distinct["thumbnail"]))
    colours = _unpack(map(bytes.fromhex, distinct["colour"])) + 1
    hues = np.log(colours[:, [0, 2]] / colours[:, [1]])
    found = [np.empty((0, 2), np.intp)]
    for pairs in near_pairs(hashes, MAX_HAMMING):
        first, second = pairs.T
        pairs = pairs[np.abs(hues[first] - hues[second]).max(1) <= MAX_HUE]
        found += [
            some[_aligned_residual(thumbnails, some) <= MAX_RESIDUAL]
            for some in np.array_split(pairs, len(pairs) // 10_000 + 1)
        ]
    return rows[np.concatenate(found)]


def _unpack(rows: Iterator[bytes]) -> NDArray[np.float32]:
    return np.array([np.frombuffer(row, np.uint8) for row in rows], np.float32)


def _aligned_residual(
    thumbnails: NDArray[np.float32], pairs: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return how far pairs of thumbnails stay apart once aligned, relative to their contrast.

    To first order a shift, a zoom, a gain and an offset add multiples of the image's gradients, of
    their product with the position, of the image and of 1: a least-squares fit takes them out.
    """
    first, second = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
    mean = ((first + second) / 2).reshape(-1, THUMBNAIL, THUMBNAIL)
    down, right = np.gradient(mean, axis=1), np.gradient(mean, axis=2)
    y, x = np.indices((THUMBNAIL, THUMBNAIL), np.float32) - (THUMBNAIL - 1) / 2
    basis = np.stack([np.ones_like(mean), mean, down, right, y * down + x * right])
    basis = basis.reshape(5, -1, THUMBNAIL**2).transpose(1, 2, 0)
    difference = (first - second)[..., None]
    normal = basis.mT @ basis + 1e-3 * np.eye(5, dtype=np.float32)
    residual = difference - basis @ np.linalg.solve(normal, basis.mT @ difference)
    contrast = np.minimum(first.std(1), second.std(1)).clip(MIN_CONTRAST)
    return np.abs(residual).mean((1, 2)) / contrast


def _components(pairs: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Number the connected components in the order of their first rows."""
    links = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    return pd.factorize(labels)[0]


def _first_of_component(pairs: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    components = _components(pairs, count)
    _, first = np.unique(components, return_index=True)
    return first[components]


def _log_groups(table: pd.DataFrame, duplicates: int) -> None:
    groups = table.groupby("group")["label"]
    log.info("%d images in %d groups, %d duplicates", len(table), groups.ngroups, duplicates)
    if mixed := int((groups.nunique() > 1).sum()):
        log.warning(
            "%d groups carry more than one label; the audited protocol keeps each in one split",
            mixed,
        )
