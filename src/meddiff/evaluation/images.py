"""One row per image: the nearest image of the other set, and what follows from it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meddiff.evaluation.compared import ALL, Compared
from meddiff.metrics.authenticity import find_neighbours
from meddiff.metrics.copies import Memorisation
from meddiff.metrics.groups import number_groups

COLUMNS = ["image_set", "image", "class", "nearest", "distance", "authentic", "inside",
           "nearest_by_pixels", "distance_of_pixels", "copy"]  # fmt: skip
NEIGHBOURS = 5


def image_rows(
    compared: Compared, features: Mapping[str, np.ndarray], memorisation: Memorisation | None
) -> pd.DataFrame:
    """Return one row per image, synthetic ones first, each set in the caller's order.

    Args:
        features: (n,d) of real and synthetic images in the order of `compared`.
        memorisation: of the synthetic images in the caller's order.

    Returns:
        `image_set`, `image` (its id, or its number), `class`; `nearest`, the nearest image of the
        other set by the features, and its `distance`; `inside`: of a synthetic image, whether it
        lies within reach of a real one (as for precision), of a real one, whether a synthetic image
        lies within its reach (as for coverage); `authentic` (`meddiff.metrics.authenticity`), of
        a real one beside the real ones of other groups, missing where there are none. Of synthetic
        images alone: `nearest_by_pixels` with `distance_of_pixels` (RMSE in grey levels, turned and
        mirrored), and `copy`.
    """
    sets, order = compared.sets, compared.orders
    near = find_neighbours(
        features["real"],
        features["synthetic"],
        groups=number_groups(sets["real"].groups),
        neighbours=min(NEIGHBOURS, len(sets["real"]) - 1),
    )
    names = {key: np.array(each.ids or order[key].astype(str)) for key, each in sets.items()}
    rows = {}
    for key, other in (("synthetic", "real"), ("real", "synthetic")):
        columns = {"image_set": key, "image": names[key], "class": sets[key].labels}
        columns |= vars(near[key]) | {"nearest": names[other][near[key].nearest]}
        table = pd.DataFrame(columns)
        table["authentic"] = table["authentic"].map({1: True, 0: False})
        rows[key] = table.iloc[order[key].argsort()]
    if memorisation is not None:
        rows["synthetic"] = rows["synthetic"].assign(
            nearest_by_pixels=names["real"][order["real"].argsort()][memorisation.nearest],
            distance_of_pixels=memorisation.distances,
            copy=memorisation.copied,
        )
    parts = [part.reindex(columns=COLUMNS).astype(object) for part in rows.values()]
    return pd.concat(parts, ignore_index=True)


def authenticity_rows(
    name: str, dimension: int, compared: Compared, near: pd.DataFrame
) -> list[dict[str, object]]:
    """Return rows of AuthPct, the share of authentic synthetic images, of all and per class.

    Alaa et al. 2022. The floor is the same of real images: in the plane 0.38, and some 0.5 in many
    dimensions, where no image is a copy. Real images of one group have no row, those of two groups
    no floor.
    """
    rows = []
    for part in compared.parts:
        of_part = near if part == ALL else near[near["class"] == part]
        shares = {
            key: of_set["authentic"].to_numpy(float) for key, of_set in of_part.groupby("image_set")
        }
        if np.isnan(shares["synthetic"]).all():
            continue
        rows.append(
            {"metric": "authpct", "class": part, "extractor": name, "dimension": dimension,
             "value": float(shares["synthetic"].mean()), "floor": float(shares["real"].mean()),
             "n_synthetic": len(shares["synthetic"]), "n_real": len(shares["real"])}
        )  # fmt: skip
    return rows
