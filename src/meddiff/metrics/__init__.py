"""Image-quality metrics: Fréchet distance of features, structural similarity of images."""

from meddiff.metrics.frechet import fid
from meddiff.metrics.structural import (
    ms_ssim_between,
    ms_ssim_pairs,
    ssim_between,
    ssim_pairs,
)

__all__ = ["fid", "ms_ssim_between", "ms_ssim_pairs", "ssim_between", "ssim_pairs"]
