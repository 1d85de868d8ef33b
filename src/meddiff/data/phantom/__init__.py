"""A data set drawn from a seed, in the raw layouts of the real sources."""

from meddiff.data.phantom.archives import write_isic2016, write_kaggle_edition, write_mednist
from meddiff.data.phantom.dermoscopy import (
    Lesion,
    View,
    draw_lesion,
    sample_lesion,
    sample_skin,
    sample_view,
)
from meddiff.data.phantom.hand import draw_hand
from meddiff.data.phantom.plan import plan_editions

__all__ = [
    "Lesion",
    "View",
    "draw_hand",
    "draw_lesion",
    "plan_editions",
    "sample_lesion",
    "sample_skin",
    "sample_view",
    "write_isic2016",
    "write_kaggle_edition",
    "write_mednist",
]
