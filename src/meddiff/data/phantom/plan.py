"""Plan the images of the drawn editions: patients, lesions, and planted duplicates.

The plan is the ground truth for tests of deduplication and grouped splits.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream

CLASSES = ("benign", "malignant")
COLUMNS = {
    **dict.fromkeys(("edition", "isic_id", "patient_id", "lesion"), "str"),
    "target": "int64",
    **dict.fromkeys(("kind", "duplicate_of"), "str"),
    **dict.fromkeys(("skin_seed", "lesion_seed", "seed", "edit_seed"), "int64"),
}
SAME_LESION = 0.3
SAME_PATIENT = 0.4

Integers = NDArray[np.int64]


def plan_editions(
    seed: int,
    counts: Mapping[str, Mapping[str, int]],
    exact_duplicates: float,
    near_duplicates: float,
) -> pd.DataFrame:
    """Plan the images of all editions; a pure function of its arguments.

    Args:
        counts: number of "benign" and "malignant" images of each edition, duplicates included.
            Editions follow one another in the order of their names.
        exact_duplicates: share of each later edition's images, class by class, that hold the same
            bytes as an image of an earlier edition. Every second one keeps its isic_id and,
            independently, every second one its patient_id.
        near_duplicates: share that are an earlier image slightly edited, under new ids.

    Returns:
        One row per image, ordered by edition and isic_id. `kind` is "original", "exact" or "near",
        and `duplicate_of` the original's isic_id or "". Images are drawn from `skin_seed` (one per
        patient), `lesion_seed` (one per lesion) and `seed` (one per photograph); a duplicate has
        those of its original, and a near duplicate is edited by `edit_seed` (else 0).

    Raises:
        MeddiffError: the shares add up to more than 1, or the earlier editions have fewer originals
            than duplicates are planned.
    """
    if exact_duplicates + near_duplicates > 1:
        raise MeddiffError(
            f"data.phantom: exact_duplicates {exact_duplicates} and near_duplicates "
            f"{near_duplicates} are more than all images: lower one"
        )
    plan = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    for index, edition in enumerate(sorted(counts)):
        rng = stream(seed, "phantom plan", edition)
        wanted = [counts[edition].get(name, 0) for name in CLASSES]
        later = index > 0
        exact = [round(later * exact_duplicates * count) for count in wanted]
        both = [round(later * (exact_duplicates + near_duplicates) * count) for count in wanted]
        copies = _plan_copies(rng, plan, edition, exact, both)
        originals = _plan_originals(rng, np.subtract(wanted, both), plan)
        rows = pd.concat([originals, copies]).assign(edition=edition)
        plan = pd.concat([plan, _number(rng, rows, plan)], ignore_index=True)
    return plan


def _plan_originals(rng: np.random.Generator, sizes: Integers, plan: pd.DataFrame) -> pd.DataFrame:
    """Plan new images of new lesions; patients may have several lesions, lesions several images."""
    target = np.repeat([0, 1], sizes)
    lesion = _runs(rng, target, SAME_LESION)
    patient = rng.permutation(_runs(rng, np.zeros(_distinct(lesion)), SAME_PATIENT))[lesion]
    return pd.DataFrame(
        {
            "isic_id": "",
            "patient_id": _ids("IP", patient + plan["patient_id"].nunique()),
            "lesion": _ids("IL", lesion + plan["lesion"].nunique()),
            "target": target,
            "kind": "original",
            "duplicate_of": "",
            "skin_seed": _seeds(rng, patient),
            "lesion_seed": _seeds(rng, lesion),
            "seed": _seeds(rng, np.arange(len(target))),
            "edit_seed": 0,
        }
    )


def _plan_copies(
    rng: np.random.Generator, plan: pd.DataFrame, edition: str, exact: list[int], both: list[int]
) -> pd.DataFrame:
    """Choose originals of earlier editions to copy; new ids are left empty."""
    numbers = enumerate(zip(exact, both, strict=True))
    chosen = pd.concat([_choose(rng, plan, edition, target, *each) for target, each in numbers])
    is_exact = chosen["kind"] == "exact"
    rank = is_exact.to_numpy().cumsum() - 1
    chosen["duplicate_of"] = chosen["isic_id"]
    chosen["isic_id"] = chosen["isic_id"].where(is_exact & (rank % 2 == 0), "")
    chosen["patient_id"] = chosen["patient_id"].where(is_exact & (rank // 2 % 2 == 0), "")
    chosen["edit_seed"] = np.where(is_exact, 0, rng.integers(1, 2**63, len(chosen)))
    return chosen


def _choose(
    rng: np.random.Generator, plan: pd.DataFrame, edition: str, target: int, exact: int, both: int
) -> pd.DataFrame:
    originals = plan[(plan["kind"] == "original") & (plan["target"] == target)]
    if both > len(originals):
        raise MeddiffError(
            f"phantom edition {edition}: {both} duplicates of {CLASSES[target]} images, but "
            f"earlier editions have {len(originals)} originals: lower the share of duplicates or "
            "enlarge the first edition"
        )
    places = rng.choice(len(originals), both, replace=False)
    return originals.iloc[places].assign(kind=["exact"] * exact + ["near"] * (both - exact))


def _number(rng: np.random.Generator, rows: pd.DataFrame, plan: pd.DataFrame) -> pd.DataFrame:
    """Shuffle an edition's rows, assign missing ids and sort by them."""
    rows = rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)
    everything = pd.concat([plan, rows])
    for column, prefix in (("isic_id", "ISIC"), ("patient_id", "IP")):
        missing = rows[column] == ""
        first = everything.loc[everything[column] != "", column].nunique()
        rows.loc[missing, column] = _ids(prefix, first + np.arange(missing.sum()))
    return rows.sort_values("isic_id")[list(COLUMNS)].astype(COLUMNS)


def _runs(rng: np.random.Generator, labels: NDArray, again: float) -> Integers:
    """Number items so that each joins its predecessor with probability `again`, if equal."""
    new = rng.random(len(labels)) >= again
    new[:1] = True
    new[1:] |= labels[1:] != labels[:-1]
    return np.cumsum(new) - 1


def _distinct(numbers: Integers) -> int:
    return int(numbers.max(initial=-1)) + 1


def _seeds(rng: np.random.Generator, numbers: Integers) -> Integers:
    """Draw one seed per distinct number."""
    return rng.integers(2**63, size=_distinct(numbers))[numbers]


def _ids(prefix: str, numbers: Integers) -> list[str]:
    return [f"{prefix}_{number:07d}" for number in numbers]
