"""Find images that are the same photograph, say why, and group what must share a split.

A pair is the same photograph for one of five reasons, strongest first: the same `bytes`, the same
`image` id, the same decoded `pixels`, the archive's `official` list, or `near` pixels. Near
duplicates are sought among all pairs by hashes and thumbnails of the index, both cheap and loose,
and confirmed on the images themselves, read again from their archives.

Found are images re-encoded, rescaled to any size or aspect, cropped by up to 4 % in all or at one
side, and changed in brightness, contrast or balance of colours. Not found are images flipped or
turned by more than a degree or two, larger crops, and images without any detail.
"""

import base64
import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, binary_dilation, gaussian_filter, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from meddiff.data.archive import map_members
from meddiff.data.decode import decode_rgb
from meddiff.data.index import THUMBNAIL, Progress
from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)

KINDS = ("bytes", "image", "pixels", "official", "near")
"""Reasons to take two images for one photograph, strongest first."""

MAX_HAMMING = 18
"""Largest distance of the hashes of near duplicates, in bits of 64."""
MAX_MISFIT = 0.09
"""Largest mean misfit of registered thumbnails, in standard deviations of their grey levels."""
MIN_CONTRAST = 2.0
"""Standard deviation of thumbnails, in grey levels, below which there is nothing to compare."""
MIN_CORRELATION = 0.4
"""Least correlation of the details of registered near duplicates."""
MAX_TURN = 0.5
"""Largest turn of registered near duplicates, in degrees."""
MAX_RESIDUAL = 0.3
"""Largest residual of registered near duplicates, in standard deviations of the first's colours."""

SIDE = 128
"""Side at which near duplicates are confirmed, in pixels."""
FINE, COARSE, LOCAL = 1.5, 4.0, 6.0
"""Details lie between two blurs, over their local strength: standard deviations in pixels."""
FLAT, FAINT = 1.0, 0.3
"""Details weaker than FLAT grey levels count for less; a tile below FAINT of it holds none."""
DARK, RIM = 50, 3
"""A frame is darker than DARK, from the border inwards; its edge of RIM pixels goes with it."""
TILES, LEAST_TILES = 8, 12
"""The correlation is taken in TILES x TILES tiles; fewer than LEAST_TILES of them prove nothing."""
PYRAMID = ((4, 5), (2, 4))
"""Registration: by how much images are reduced, and how often the fit is repeated there."""
LIMITS = np.array([[0.06, 0.1]] * 2)
"""Largest shift, as a share of the side, and largest zoom, down and right."""
STEP = 0.03
"""Largest change of a shift or zoom in one step: the fit is to first order only."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
HELD = 2048
"""Images held at once while pairs are confirmed: 300 MB."""
ROWS, PAIRS = 64, 256
"""Rows and pairs that are compared at once."""

Pairs = NDArray[np.intp]
Plane = NDArray[np.float32]


class Duplicates(NamedTuple):
    """What `find_duplicates` found.

    `images` has the rows of the index: `group`, the connected component over duplicates, shared
    patients and shared lesions, and `duplicate_of`, the id of the first duplicate in (edition, id)
    order, `<NA>` for that one itself.

    `links` has one row a pair, in (edition, id) order: the ids `first` and `second`, `kind` (the
    strongest of KINDS), `hamming` (bits of 64 in which the hashes differ), and for near ones
    `residual` and `correlation` of `compare`. No more pairs are listed than are needed to join what
    the other reasons join, n - 1 for n equal images; near ones join only what those leave apart.
    """

    images: pd.DataFrame
    links: pd.DataFrame


class View(NamedTuple):
    """An image squeezed to a square and prepared for `compare`.

    `levels` are blurred luma for the registration, coarse to fine; `details` float32 (SIDE, SIDE);
    `seen` bool (SIDE, SIDE), false in a dark frame; `colours` float32 (3, SIDE / 2, SIDE / 2).
    """

    levels: tuple[Plane, ...]
    details: Plane
    seen: NDArray[np.bool_]
    colours: Plane


class Likeness(NamedTuple):
    """How alike two registered images are; see `compare`."""

    residual: float
    correlation: float
    turn: float

    @property
    def is_same(self) -> bool:
        """Whether the two are one photograph, after edits at most."""
        return (
            self.residual <= MAX_RESIDUAL
            and self.correlation >= MIN_CORRELATION
            and abs(self.turn) <= MAX_TURN
        )


def find_duplicates(
    index: pd.DataFrame,
    *,
    official: pd.DataFrame | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Duplicates:
    """Find all duplicates; nothing depends on the order of rows or on the workers.

    Args:
        index: table of `meddiff.data.index.build_index`, unique by id; its archives must still be
            there if any images look alike.
        official: the archive's own list of duplicates: pairs of `image` ids, `first` and `second`.
        workers: threads.
        progress: called with the number of rows just settled; they add up to all.

    Raises:
        MeddiffError: an image that is to be compared is missing, unreadable or changed since it
            was indexed.
    """
    order = np.lexsort([index["id"].to_numpy(str), index["edition"].to_numpy(str)])
    table = index.iloc[order].reset_index(drop=True)
    known = _known_links(table, official)
    copies = _components(_pairs_of(known), len(table))
    near = _confirm(table, _alike_pairs(table, copies, workers), workers, progress)
    links = pd.concat([known, near]).sort_values(["first", "second"], ignore_index=True)
    images = _group(table, _pairs_of(links))
    _log_findings(table.assign(group=images["group"]), images, links)
    return Duplicates(images.iloc[np.argsort(order)].set_axis(index.index), _named(links, table))


def near_pairs(hashes: NDArray[np.uint64], limit: int, rows: slice) -> Pairs:
    """Return the pairs (n, 2), first < second, whose hashes differ in at most `limit` bits.

    Args:
        hashes: 64-bit hashes, (n,).
        limit: largest Hamming distance in bits.
        rows: where the first of each pair is; the second is sought behind it.
    """
    distance = np.bitwise_count(hashes[rows, None] ^ hashes[None, rows.start :])
    pairs = np.argwhere(distance <= limit)
    return pairs[pairs[:, 0] < pairs[:, 1]] + rows.start


def view(pixels: NDArray[np.uint8]) -> View:
    """Prepare an image, uint8 (height, width, 3), for `compare`."""
    square = Image.fromarray(pixels).resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    colours = np.asarray(square, np.float32)
    luma = colours @ LUMA
    seen = ~binary_dilation(_frame(luma), iterations=RIM)
    return View(
        tuple(_blur(_reduce(luma, factor), 1.0) for factor, _ in PYRAMID),
        _details(luma, seen),
        seen,
        np.stack([_reduce(channel, 2) for channel in colours.transpose(2, 0, 1)]),
    )


def compare(first: View, second: View) -> Likeness:
    """Register two images and say how alike they are where both are seen.

    The second is shifted and zoomed, down and right apart, until its luma fits the first's, in
    least squares with a gain and an offset (Lucas and Kanade 1981), from coarse to fine.

    Returns:
        `correlation` in [-1, 1] of the details, blurs between FINE and COARSE over their local
        strength: the lower quartile over tiles. So neither a dark blob on skin nor strong edges in
        some places, such as those of a ruler or a hair, suffice. `residual`, at least 0: root mean
        square difference of the colours over the standard deviation of the first's, once each
        channel is fitted with a gain and an offset.
    """
    motion, turn = _register(first.levels, second.levels)
    seen = first.seen & (_move(second.seen.astype(np.float32), motion) > 0.99)
    inside = seen & _overlap(motion, SIDE, margin=4)
    if inside.mean() < LEAST_TILES / TILES**2:
        return Likeness(1.0, 0.0, 0.0)
    correlation = _correlation(first.details, _move(second.details, motion), inside)
    half = inside[::2, ::2]
    moved = np.stack([_move(channel, motion) for channel in second.colours])
    residual = _residual(first.colours[:, half], moved[:, half])
    return Likeness(residual, correlation, float(np.degrees(turn)))


def _known_links(table: pd.DataFrame, official: pd.DataFrame | None) -> pd.DataFrame:
    """Return the links that need no look at the images: positions `first`, `second`, and `kind`."""
    images = table["image"] if "image" in table else pd.Series(pd.NA, table.index)
    pairs = {
        "bytes": _same(table["bytes_sha256"]),
        "image": _same(images),
        "pixels": _same(table["pixels_sha256"]),
        "official": _same(images)[:0] if official is None else _listed(images, official),
    }
    links = [pd.DataFrame(found, columns=["first", "second"]) for found in pairs.values()]
    known = pd.concat(links, keys=pairs, names=["kind"]).reset_index("kind")
    known = known[known["first"] < known["second"]].drop_duplicates(["first", "second"])
    return known[_spans(_pairs_of(known), len(table))]


def _spans(pairs: Pairs, count: int) -> NDArray[np.bool_]:
    """Tell which pairs (n, 2), the strongest first, are needed to connect all that they connect."""
    rank = np.arange(1, len(pairs) + 1)
    forest = minimum_spanning_tree(coo_array((rank, pairs.T), shape=(count, count)))
    return np.isin(rank, forest.data)


def _same(keys: pd.Series) -> Pairs:
    """Return pairs (n, 2) that join each row to the first with its key; `<NA>` joins nothing."""
    codes, _ = pd.factorize(keys)
    rows = np.flatnonzero(codes >= 0)
    _, first, inverse = np.unique(codes[rows], return_index=True, return_inverse=True)
    return np.stack([rows[first][inverse], rows], axis=1)


def _listed(images: pd.Series, official: pd.DataFrame) -> Pairs:
    """Return the official pairs, (n, 2), as the first rows that show the two images."""
    known = images.dropna().drop_duplicates()
    rows = pd.Series(known.index, known.to_numpy())
    pairs = pd.DataFrame({name: official[name].map(rows) for name in ("first", "second")})
    if strangers := int(pairs.isna().any(axis=1).sum()):
        log.info(
            "ignored %d of %d official duplicates: they name images that are not here",
            strangers,
            len(official),
        )
    return np.sort(pairs.dropna().to_numpy(np.intp), axis=1)


def _alike_pairs(table: pd.DataFrame, copies: NDArray[np.intp], workers: int) -> Pairs:
    """Return pairs (n, 2) of distinct images in different `copies` that look alike, in order."""
    thumbnails = _thumbnails(table)
    flat = thumbnails.std((1, 2)) < MIN_CONTRAST
    rows = np.flatnonzero(~table["pixels_sha256"].duplicated() & ~flat)
    hashes, smooth = _hashes(table)[rows], _smooth(thumbnails[rows])

    def search(start: int) -> Pairs:
        pairs = near_pairs(hashes, MAX_HAMMING, slice(start, start + ROWS))
        pairs = pairs[copies[rows[pairs[:, 0]]] != copies[rows[pairs[:, 1]]]]
        parts = np.array_split(pairs, len(pairs) // PAIRS + 1)
        return np.concatenate([some[_misfit(smooth, some) <= MAX_MISFIT] for some in parts])

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(search, range(0, len(rows), ROWS)))
    return rows[np.concatenate([np.empty((0, 2), np.intp), *found])]


def _thumbnails(table: pd.DataFrame) -> Plane:
    data = b"".join(map(base64.b64decode, table["thumbnail"]))
    return np.frombuffer(data, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL).astype(np.float32)


def _hashes(table: pd.DataFrame) -> NDArray[np.uint64]:
    return np.array([int(digits, 16) for digits in table["phash"]], np.uint64)


def _smooth(thumbnails: Plane) -> Plane:
    """Blur by (1, 2, 1) / 4 down and right, so that a pixel's shift is nearly linear."""
    for _ in range(2):
        total = thumbnails[:, :-2] + 2 * thumbnails[:, 1:-1] + thumbnails[:, 2:]
        thumbnails = (total / np.float32(4)).transpose(0, 2, 1)
    return thumbnails


def _misfit(thumbnails: Plane, pairs: Pairs) -> Plane:
    """Return how far pairs of thumbnails stay apart once registered, relative to their contrast.

    To first order a shift, a zoom, a gain and an offset add multiples of the mean's gradients, of
    their products with the position, of the mean and of 1: a least-squares fit takes them out.
    """
    first, second = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
    mean, size = (first + second) / 2, thumbnails[0].size
    down, right = np.gradient(mean, axis=1), np.gradient(mean, axis=2)
    place = np.linspace(-1, 1, mean.shape[-1], dtype=np.float32)
    parts = [np.ones_like(mean), mean, down, right, place[:, None] * down, place * right]
    basis = np.stack(parts, axis=1).reshape(-1, len(parts), size)
    difference = (first - second).reshape(-1, size, 1)
    normal = basis @ basis.mT + 1e-3 * np.eye(len(parts), dtype=np.float32)
    rest = difference - basis.mT @ np.linalg.solve(normal, basis @ difference)
    contrast = np.minimum(first.std((1, 2)), second.std((1, 2))).clip(MIN_CONTRAST)
    return np.abs(rest).mean((1, 2)) / contrast


def _confirm(
    table: pd.DataFrame, pairs: Pairs, workers: int, progress: Progress | None
) -> pd.DataFrame:
    """Return the near links among pairs that look alike, having compared the images themselves."""
    log.info("%d pairs look alike: comparing the images", len(pairs))
    found: list[Likeness] = []
    settled = 0
    for some, end in _batches(pairs, len(table)):
        views = _read_views(table, np.unique(some), workers)
        with ThreadPoolExecutor(workers) as pool:
            found += pool.map(compare, *([views[row] for row in rows] for rows in some.T.tolist()))
        if progress:
            progress(end - settled)
        settled = end
    links = pd.DataFrame(pairs, columns=["first", "second"]).assign(kind="near")
    measures = np.array(found).reshape(-1, len(Likeness._fields)).round(4)
    links[["residual", "correlation"]] = measures[:, :2]
    return links[np.array([likeness.is_same for likeness in found], bool)]


def _batches(pairs: Pairs, count: int) -> Iterator[tuple[Pairs, int]]:
    """Cut sorted pairs so that each part has at most HELD images; say how many rows are settled."""
    held: set[int] = set()
    start = 0
    for place, pair in enumerate(pairs.tolist()):
        if len(held.union(pair) if len(held) > HELD - 2 else held) > HELD:
            yield pairs[start:place], pair[0]
            held, start = set(), place
        held.update(pair)
    yield pairs[start:], count


def _read_views(table: pd.DataFrame, rows: NDArray[np.intp], workers: int) -> dict[int, View]:
    """Read images again, by row; each must still be the file that was indexed."""
    files = table.loc[rows, ["archive", "member", "bytes_sha256"]].to_numpy()

    def read(position: int, data: bytes) -> tuple[int, View]:
        archive, member, digest = files[position]
        if hashlib.sha256(data).hexdigest() != digest:
            raise MeddiffError(
                f"{member} in {archive} changed since it was indexed: index the images again"
            )
        return int(rows[position]), view(decode_rgb(data, f"{member} in {archive}"))

    return dict(map_members(read, [(archive, member) for archive, member, _ in files], workers))


def _register(
    first: tuple[Plane, ...], second: tuple[Plane, ...]
) -> tuple[NDArray[np.float64], float]:
    """Return the motion of the second's pixels onto the first's, and by how much it is turned.

    The motion is (shift, zoom), down and right; shifts are shares of the side, zooms are about the
    centre. The turn, in radians, is estimated, but not part of the motion.
    """
    motion, turn = np.zeros((2, 2)), 0.0
    for target, source, (_, repeats) in zip(first, second, PYRAMID, strict=True):
        for _ in range(repeats):
            inside = _overlap(motion, len(target), margin=1)
            step, turn = _fit_step(target, _move(source, motion), inside)
            motion = np.clip(motion + step.clip(-STEP, STEP), -LIMITS, LIMITS)
    return motion, turn


def _fit_step(
    target: Plane, moved: Plane, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Fit target = offset + gain * (moved + the change by a small motion and turn)."""
    side = len(target)
    x = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    y = x[:, None]
    down, right = side * np.gradient(moved, axis=0), side * np.gradient(moved, axis=1)
    parts = np.ones_like(moved), moved, down, y * down, right, x * right, x * down - y * right
    basis = np.stack([part[inside] for part in parts], dtype=np.float64)
    # The cut-off keeps an image without slopes where it is.
    fit = np.linalg.lstsq(basis @ basis.T, basis @ target[inside], rcond=1e-10)[0]
    change = fit[2:] / max(fit[1], 0.3)
    return change[:4].reshape(2, 2), float(change[4])


def _move(image: Plane, motion: NDArray[np.float64]) -> Plane:
    shift, zoom = motion.T
    centre = (len(image) - 1) / 2
    offset = shift * len(image) - zoom * centre
    return affine_transform(image, 1 + zoom, offset, order=1, mode="nearest")


def _overlap(motion: NDArray[np.float64], side: int, margin: int) -> NDArray[np.bool_]:
    """Return the pixels that lie `margin` inside both images, bool (side, side)."""
    here = np.arange(side)
    centre = (side - 1) / 2
    shift, zoom = motion[:, :1], motion[:, 1:]
    there = here + side * shift + zoom * (here - centre)
    lowest, highest = np.minimum(here, there), np.maximum(here, there)
    down, right = (lowest >= margin) & (highest <= side - 1 - margin)
    return down[:, None] & right


def _reduce(image: Plane, factor: int) -> Plane:
    side = len(image) // factor
    return image.reshape(side, factor, side, factor).mean((1, 3))


def _blur(image: Plane, sigma: float) -> Plane:
    return gaussian_filter(image, sigma, mode="nearest", truncate=3.0)


def _frame(luma: Plane) -> NDArray[np.bool_]:
    """Return the dark pixels that hang together with dark ones at the border."""
    parts, _ = label(luma < DARK)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, border[border > 0])


def _details(luma: Plane, seen: NDArray[np.bool_]) -> Plane:
    """Return what is finer than the lesion, over its local strength; nothing unseen adds to it."""
    weight = seen.astype(np.float32)

    def blur(image: Plane, sigma: float) -> Plane:
        return _blur(image * weight, sigma) / _blur(weight, sigma).clip(1e-3)

    band = blur(luma, FINE) - blur(luma, COARSE)
    return band / np.sqrt(blur(band**2, LOCAL) + FLAT**2)


def _correlation(first: Plane, second: Plane, inside: NDArray[np.bool_]) -> float:
    """Return the lower quartile over the tiles that are half inside or more and hold details."""
    weight, size = inside.astype(np.float32), SIDE // TILES
    share = _reduce(weight, size)
    one, two = (_reduce(part**2 * weight, size) for part in (first, second))
    known = (share >= 0.5) & (np.maximum(one, two) >= FAINT**2 * share)
    correlation = _reduce(first * second * weight, size) / np.sqrt(one * two).clip(1e-6)
    return float(np.percentile(correlation[known], 25)) if known.sum() >= LEAST_TILES else 0.0


def _residual(first: Plane, second: Plane) -> float:
    """Return what is left of colours (3, n) after a fit of each channel to the other's."""
    first = first - first.mean(1, keepdims=True)
    second = second - second.mean(1, keepdims=True)
    gain = (first * second).sum(1) / (second**2).sum(1).clip(1e-3)
    rest = first - gain[:, None] * second
    return float(np.sqrt((rest**2).mean()) / max(np.sqrt((first**2).mean()), MIN_CONTRAST))


def _group(table: pd.DataFrame, alike: Pairs) -> pd.DataFrame:
    kin = np.concatenate([alike, _same(table["patient"]), _same(table["lesion"])])
    copies = _components(alike, len(table))
    _, first = np.unique(copies, return_index=True)
    original = table["id"].astype("string").iloc[first[copies]].reset_index(drop=True)
    return pd.DataFrame(
        {
            "group": pd.Series(_components(kin, len(table)), dtype="Int64"),
            "duplicate_of": original.mask(first[copies] == table.index, pd.NA),
        }
    )


def _pairs_of(links: pd.DataFrame) -> Pairs:
    return links[["first", "second"]].to_numpy(np.intp)


def _components(pairs: Pairs, count: int) -> NDArray[np.intp]:
    """Number the connected components in the order of their first rows."""
    links = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    return pd.factorize(labels)[0]


def _named(links: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return links with ids for positions, and with the distance of their hashes."""
    first, second = _pairs_of(links).T
    ids, hashes = table["id"].astype("string"), _hashes(table)
    return pd.DataFrame(
        {
            "first": ids.iloc[first].to_numpy(),
            "second": ids.iloc[second].to_numpy(),
            "kind": links["kind"].to_numpy(),
            "hamming": np.bitwise_count(hashes[first] ^ hashes[second]).astype("int64"),
            "residual": links["residual"].to_numpy(float),
            "correlation": links["correlation"].to_numpy(float),
        }
    ).astype(dict.fromkeys(("first", "second", "kind"), "string"))


def _log_findings(table: pd.DataFrame, images: pd.DataFrame, links: pd.DataFrame) -> None:
    groups = table.groupby("group")["label"]
    log.info(
        "%d images in %d groups, %d duplicates; links: %s",
        len(table),
        groups.ngroups,
        images["duplicate_of"].notna().sum(),
        ", ".join(f"{(links['kind'] == kind).sum()} {kind}" for kind in KINDS),
    )
    if mixed := int((groups.nunique() > 1).sum()):
        log.warning(
            "%d groups carry more than one label; the audited protocol keeps each in one split",
            mixed,
        )
