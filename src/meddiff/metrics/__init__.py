"""Metrics of image sets: arrays in, numbers out."""

from meddiff.metrics.frechet import cafd, fid, fid_infinity, fid_interval
from meddiff.metrics.inception import inception_score
from meddiff.metrics.intervals import Estimate, pairs_interval
from meddiff.metrics.kernel import cmmd, cmmd_interval, kid, kid_interval
from meddiff.metrics.neighbours import Fidelity, Memorisation, fidelity, memorisation
from meddiff.metrics.pixels import psnr_between, psnr_pairs
from meddiff.metrics.structural import (
    ms_ssim_between,
    ms_ssim_pairs,
    ssim_between,
    ssim_pairs,
)

__all__ = [
    "Estimate",
    "Fidelity",
    "Memorisation",
    "cafd",
    "cmmd",
    "cmmd_interval",
    "fid",
    "fid_infinity",
    "fid_interval",
    "fidelity",
    "inception_score",
    "kid",
    "kid_interval",
    "memorisation",
    "ms_ssim_between",
    "ms_ssim_pairs",
    "pairs_interval",
    "psnr_between",
    "psnr_pairs",
    "ssim_between",
    "ssim_pairs",
]
