"""Metrics of image sets: arrays in, numbers out."""

from typing import TYPE_CHECKING

from meddiff.core.lazy import lazy_names

if TYPE_CHECKING:
    from meddiff.metrics.copies import Memorisation, find_changed_copies, memorisation
    from meddiff.metrics.frechet import cafd, fid, fid_infinity, fid_interval
    from meddiff.metrics.inception import inception_score
    from meddiff.metrics.intervals import Estimate
    from meddiff.metrics.kernel import cmmd, cmmd_interval, kid, kid_interval
    from meddiff.metrics.membership_inference import Membership, membership
    from meddiff.metrics.pair_intervals import pairs_interval
    from meddiff.metrics.precision_recall import Prdc, prdc
    from meddiff.metrics.structural import ms_ssim_between, ms_ssim_pairs, ssim_between, ssim_pairs

__all__ = [
    "Estimate",
    "Membership",
    "Memorisation",
    "Prdc",
    "cafd",
    "cmmd",
    "cmmd_interval",
    "fid",
    "fid_infinity",
    "fid_interval",
    "find_changed_copies",
    "inception_score",
    "kid",
    "kid_interval",
    "membership",
    "memorisation",
    "ms_ssim_between",
    "ms_ssim_pairs",
    "pairs_interval",
    "prdc",
    "ssim_between",
    "ssim_pairs",
]

_DEFINED_IN = {
    "copies": ("Memorisation", "find_changed_copies", "memorisation"),
    "frechet": ("cafd", "fid", "fid_infinity", "fid_interval"),
    "inception": ("inception_score",),
    "intervals": ("Estimate",),
    "pair_intervals": ("pairs_interval",),
    "kernel": ("cmmd", "cmmd_interval", "kid", "kid_interval"),
    "membership_inference": ("Membership", "membership"),
    "precision_recall": ("Prdc", "prdc"),
    "structural": ("ms_ssim_between", "ms_ssim_pairs", "ssim_between", "ssim_pairs"),
}
__getattr__ = lazy_names(
    __name__,
    {name: f"{__name__}.{module}" for module, names in _DEFINED_IN.items() for name in names},
)
