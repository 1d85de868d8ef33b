"""Two sets of images scored against each other, of any origin: `meddiff evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.evaluation.compared import PAIRED, AnyImages, Compared, as_image_set, check_sets
from meddiff.evaluation.images import authenticity_rows, image_rows
from meddiff.evaluation.rows import memorisation_row
from meddiff.evaluation.scores import COLUMNS, FeatureExtractor, Scorer, is_standardised, steps_of
from meddiff.metrics.copies import Memorisation, find_changed_copies, find_copies
from meddiff.metrics.groups import Groups, count_groups, number_groups
from meddiff.metrics.images import Images
from meddiff.metrics.nearest import flat
from meddiff.metrics.similarity import PAIRS, too_small


@dataclass(frozen=True)
class ScoredSets:
    """What `evaluate` returns.

    Attributes:
        scores: one row per metric, class and extractor; the class is `all`, that of both sets, or
            `mean` for the mean over classes. `value` with `ci_low` and `ci_high`; `floor` is
            the value of real images, `ceiling` that of noise and `matched` that of synthetic
            images, each of one number of images against as many others: half of the real ones
            against the rest, over random halves. `score` is where between floor (1) and ceiling (0)
            `matched` lies. All have the ends of a 95 % interval; what a metric has not is missing.
        left_out: by metric or class, why it has no row.
        memorisation: how close synthetic images come to real ones, beside unseen images; without
            such, beside how close real images come to those of other groups. None where most real
            images have their like in another group.
        changed_copies: the same by the features of each extractor, which see crops and shifts.
        images: one row per image, see `meddiff.evaluation.images`; by the features of the first
            extractor, or by pixels if there is none.
    """

    scores: pd.DataFrame
    left_out: Mapping[str, str]
    memorisation: Memorisation | None
    images: pd.DataFrame
    changed_copies: Mapping[str, Memorisation]

    def table(self) -> pd.DataFrame:
        """Return the scores without columns that are empty throughout."""
        return self.scores.dropna(axis="columns", how="all")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""

        def plain(copies: Memorisation) -> dict[str, Any]:
            return {**memorisation_row(copies), "nearest": copies.nearest.tolist()}

        return {
            "scores": records(self.scores),
            "left_out": dict(self.left_out),
            "memorisation": self.memorisation and plain(self.memorisation),
            "changed_copies": {name: plain(each) for name, each in self.changed_copies.items()},
        }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain data, None where a cell is empty."""
    rows = table.astype(object)
    plain: list[Any] = rows.where(rows.notna(), None).to_dict("records")
    return plain


def evaluate(
    real: AnyImages,
    synthetic: AnyImages,
    extractors: Mapping[str, FeatureExtractor] = MappingProxyType({}),
    *,
    unseen: AnyImages | None = None,
    ssim_images: int = PAIRED,
    n_resamples: int = 200,
    seed: int = 0,
    device: str = "cpu",
    features: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
    pairs: Mapping[str, Images] = MappingProxyType({}),
) -> ScoredSets:
    """Return every score of synthetic images beside real ones.

    Arguments, scores and what is refused are those of `meddiff.assessment.evaluate.evaluate`.
    """
    sets = {"real": as_image_set(real), "synthetic": as_image_set(synthetic)}
    others = {} if unseen is None else {"unseen": as_image_set(unseen).images}
    groups = number_groups(sets["real"].groups)
    arrays = {**{key: each.images for key, each in sets.items()}, **others}
    check_sets(arrays, ssim_images=ssim_images, n_resamples=n_resamples)
    copies, left_out = _copies(arrays, groups)
    compared = Compared.of(**sets, seed=seed)
    rows: list[dict[str, Any]] = []
    images: list[pd.DataFrame] = []
    changed: dict[str, Memorisation] = {}
    with Progress(steps_of(extractors, compared), "evaluate", "part") as progress:
        scorer = Scorer(compared, n_resamples, seed, device, progress)
        for name, net in extractors.items():
            computed = features.get(name, {})
            own = scorer.features(net, computed)
            images.append(image_rows(compared, own, copies))
            rows += scorer.feature_rows(name, net, own)
            rows += authenticity_rows(name, own["real"].shape[1], compared, images[-1])
            # A crop has other statistics than its whole.
            if copies is not None and not is_standardised(net):
                of_unseen = computed.get("unseen")
                if others and of_unseen is None:
                    of_unseen = net.features(others["unseen"], device=device)
                changed |= _changed_copies(name, compared, own, of_unseen, groups)
        rows += scorer.similarity_rows(pairs, ssim_images)
    if not images:
        pixels = {key: flat(each.images) for key, each in compared.sets.items()}
        images.append(image_rows(compared, pixels, copies))
    side = min(pairs.get("real", arrays["real"]).shape[1:3])
    left_out |= {metric: reason for metric in PAIRS if (reason := too_small(metric, side))}
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return ScoredSets(table, left_out | compared.left_out, copies, images[0], changed)


def _changed_copies(
    name: str,
    compared: Compared,
    features: Mapping[str, np.ndarray],
    unseen: np.ndarray | None,
    groups: Groups,
) -> dict[str, Memorisation]:
    """Search copies in features, in the caller's order; none where most images have their like."""
    real, synthetic = (features[key][order.argsort()] for key, order in compared.orders.items())
    try:
        return {name: find_changed_copies(real, synthetic, unseen, groups=groups)}
    except MeddiffError:
        return {}


def _copies(
    arrays: Mapping[str, Images], groups: Groups
) -> tuple[Memorisation | None, dict[str, str]]:
    """Search copies beside unseen images, or beside real ones of other groups; or say why not."""
    if "unseen" in arrays:
        return find_copies(*arrays.values()), {}
    if count_groups(groups, len(arrays["real"])) < 2:
        return None, {"copies": "copies: not searched for, since all real images are of one group"}
    try:
        return find_copies(arrays["real"], arrays["synthetic"], None, groups=groups), {}
    except MeddiffError:
        return None, {
            "copies": "copies: not searched for, since most real images have their like among the "
            "others: give --unseen, or --groups if they are of one patient"
        }
