"""Find images of the same photograph, with the reason, and group images that must share a split.

A pair shows the same photograph for one of five reasons, strongest first: the same `bytes`, the
same `image` id, the same decoded `pixels`, the archive's `official` list, or `near` pixels. Near
duplicates are searched among all pairs by hashes and thumbnails of the index, both cheap and
permissive (`candidates`), and confirmed on the images themselves, read again from their archives.

Detected are images re-encoded, rescaled to any size or aspect, cropped by up to 4 % in all or at
one side, and changed in brightness, contrast or balance of colours as long as few pixels saturate.
Not detected are images flipped or rotated by more than a degree or two, larger crops, and images
without detail.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from meddiff.core.errors import first_names
from meddiff.core.progress import OnProgress
from meddiff.data.duplicates.candidates import Pairs, alike_pairs, hashes_of
from meddiff.data.duplicates.registration import Likeness, PreparedImage, match, prepare
from meddiff.data.index import check_unchanged
from meddiff.data.readers.decode import decode_rgb
from meddiff.data.readers.members import map_members
from meddiff.data.readers.windows import windows_of

log = logging.getLogger(__name__)

KINDS = ("bytes", "image", "pixels", "official", "near")
"""Reasons why two images show one photograph, strongest first."""

MAX_VIEWS = 2048
"""Images in memory at once while pairs are confirmed: 300 MB."""


class IndexDuplicates(NamedTuple):
    """Duplicates in an index.

    Attributes:
        images: one row per row of the index: `group`, the connected component over duplicates,
            shared patients and shared lesions, and `duplicate_of`, the id of the first duplicate in
            (edition, id) order, `<NA>` for that one itself.
        links: one row per pair, in (edition, id) order: the ids `first` and `second`, `kind` (the
            strongest of KINDS), `hamming` (bits of 64 in which the hashes differ), and for near
            ones `residual` and `correlation` of `compare`. Only as many pairs are listed as connect
            the duplicates, n - 1 for n equal images; near ones only connect what the other kinds
            do not.
    """

    images: pd.DataFrame
    links: pd.DataFrame


def search_index(
    index: pd.DataFrame,
    *,
    official: pd.DataFrame | None = None,
    near: bool = True,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> IndexDuplicates:
    """Find all duplicates; nothing depends on the order of rows or on the workers.

    Args:
        index: table of `meddiff.data.index.build_index`, unique by id; archives of images that look
            alike are read again.
        official: the archive's own list of duplicates: pairs of `image` ids, `first` and `second`.
        progress: called with the number of rows just finished; they add up to all.
    """
    order = np.lexsort([index["id"].to_numpy(str), index["edition"].to_numpy(str)])
    table = index.iloc[order].reset_index(drop=True)
    exact = _exact_links(table, official)
    copies = _components(_pairs_of(exact), len(table))
    alike = alike_pairs(table, copies, workers) if near else np.empty((0, 2), np.intp)
    confirmed = _confirm(table, alike, workers, progress)
    links = pd.concat([exact, confirmed]).sort_values(["first", "second"], ignore_index=True)
    images = _group(table, _pairs_of(links))
    _log_findings(table.assign(group=images["group"]), images, links)
    return IndexDuplicates(
        images.iloc[np.argsort(order)].set_axis(index.index), _named(links, table)
    )


def _exact_links(table: pd.DataFrame, official: pd.DataFrame | None) -> pd.DataFrame:
    """Return the links by the index alone: positions `first`, `second`, and `kind`."""
    images = table["image"] if "image" in table else pd.Series(pd.NA, table.index)
    pairs = {
        "bytes": _same(table["bytes_sha256"]),
        "image": _same(images),
        "pixels": _same(table["pixels_sha256"]),
        "official": _same(images)[:0] if official is None else _listed(images, official),
    }
    tables = [pd.DataFrame(rows, columns=["first", "second"]) for rows in pairs.values()]
    links = pd.concat(tables, keys=pairs, names=["kind"]).reset_index("kind")
    links = links[links["first"] < links["second"]].drop_duplicates(["first", "second"])
    return links[_spans(_pairs_of(links), len(table))]


def _spans(pairs: Pairs, count: int) -> NDArray[np.bool_]:
    """Return which pairs (n, 2), strongest first, form a spanning forest of their graph."""
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
    unique = images.dropna().drop_duplicates()
    rows = pd.Series(unique.index, unique.to_numpy())
    pairs = pd.DataFrame({name: official[name].map(rows) for name in ("first", "second")})
    if unlisted := int(pairs.isna().any(axis=1).sum()):
        message = "ignored %d of %d official duplicates, of images that are not in the index"
        log.info(message, unlisted, len(official))
    return np.sort(pairs.dropna().to_numpy(np.intp), axis=1)


def _confirm(
    table: pd.DataFrame, pairs: Pairs, workers: int, progress: OnProgress | None
) -> pd.DataFrame:
    """Return the near links among pairs that look alike, by comparing the images themselves."""
    log.info("%d pairs look alike: comparing the images", len(pairs))
    likenesses: list[Likeness] = []
    finished = 0
    for part, end in _batches(pairs, len(table)):
        views = _read_views(table, np.unique(part), workers)
        with ThreadPoolExecutor(workers) as pool:
            sides = ([views[row] for row in rows] for rows in part.T.tolist())
            likenesses += pool.map(match, *sides)
        if progress:
            progress(end - finished)
        finished = end
    links = pd.DataFrame(pairs, columns=["first", "second"]).assign(kind="near")
    measures = np.array(likenesses).reshape(-1, len(Likeness._fields)).round(4)
    links[["residual", "correlation"]] = measures[:, :2]
    return links[np.array([likeness.is_same for likeness in likenesses], bool)]


def _batches(pairs: Pairs, count: int) -> Iterator[tuple[Pairs, int]]:
    """Cut sorted pairs into parts of at most MAX_VIEWS images; yield them with finished rows."""
    rows: set[int] = set()
    start = 0
    for place, pair in enumerate(pairs.tolist()):
        if len(rows.union(pair) if len(rows) > MAX_VIEWS - 2 else rows) > MAX_VIEWS:
            yield pairs[start:place], pair[0]
            rows, start = set(), place
        rows.update(pair)
    yield pairs[start:], count


def _read_views(
    table: pd.DataFrame, rows: NDArray[np.intp], workers: int
) -> dict[int, PreparedImage]:
    """Read and prepare images by row; each file must be unchanged since it was indexed."""
    files = table.loc[rows, ["archive", "member", "bytes_sha256"]].to_numpy()
    windows = windows_of(table)

    def read(position: int, data: bytes) -> tuple[int, PreparedImage]:
        archive, member, digest = files[position]
        name = f"{member} in {archive}"
        check_unchanged(data, digest, name)
        return int(rows[position]), prepare(decode_rgb(data, name, windows))

    return dict(map_members(read, [(archive, member) for archive, member, _ in files], workers))


def _group(table: pd.DataFrame, duplicates: Pairs) -> pd.DataFrame:
    kin = np.concatenate([duplicates, _same(table["patient"]), _same(table["lesion"])])
    copies = _components(duplicates, len(table))
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
    """Return links by ids instead of positions, with the distance of their hashes."""
    first, second = _pairs_of(links).T
    ids, hashes = table["id"].astype("string"), hashes_of(table)
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
    copies = table.groupby(images["duplicate_of"].fillna(table["id"]))["label"]
    contradicted = copies.nunique()[lambda labels: labels > 1].index
    if len(contradicted):
        message = (
            "%d photographs have copies of several classes (%s): see other_label in "
            "results/audit/overlap.csv"
        )
        log.warning(message, len(contradicted), first_names(list(contradicted)))
    if mixed := int((groups.nunique() > 1).sum()):
        log.info("%d groups have more than one label; `leak_free` keeps each in one split", mixed)
