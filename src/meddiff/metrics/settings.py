"""Settings of metrics."""

from pydantic import Field, PositiveFloat, field_validator

from meddiff.core.settings import Settings, SplitName, without_repeats
from meddiff.metrics.images import SMALLEST_WINDOW, Subset


class SsimSettings(Settings):
    """Gaussian window of SSIM."""

    kernel_size: int = Field(default=11, ge=SMALLEST_WINDOW)
    """Side of the window in px."""
    sigma: PositiveFloat = 1.5
    """Standard deviation of the window in px."""


class MsSsimSettings(SsimSettings):
    """Gaussian window of MS-SSIM with five scales: at most 2 px at 32 px, 4 px at 64 px. Smaller
    images have no MS-SSIM."""

    kernel_size: int = Field(default=2, ge=SMALLEST_WINDOW)


class MetricsSettings(Settings):
    """How image sets are compared."""

    ssim: SsimSettings = SsimSettings()
    ms_ssim: MsSsimSettings = MsSsimSettings()
    ssim_on: list[Subset] = Field(default=["all"], min_length=1)
    """Images compared by SSIM and MS-SSIM: `all`, and `black_background` for those with a dark
    upper right corner, as in the study's hand radiographs."""
    ssim_images: int | None = Field(default=None, ge=2)
    """Images per set, a random choice, whose pairs SSIM and MS-SSIM compare; null: all (6,834
    images have 23 million pairs)."""
    reference: list[SplitName] | None = Field(default=None, min_length=1)
    """Reference image sets of distances; null: by protocol, the test set under `leak_free`, all
    under `as_published`."""
    augment_real: bool = False
    """Augment the real images of distances as in `diffusion.augmentation`, for a like-for-like
    comparison, as the study did for hand radiographs."""
    n_resamples: int = Field(default=200, ge=4)
    """Random half-samples of the images behind each 95 % interval."""
    likelihood_images: int = Field(default=64, ge=1)
    """Images per set in `results/likelihood.csv`; each takes 80 forward and backward passes."""

    _differ = field_validator("ssim_on", "reference")(without_repeats)
