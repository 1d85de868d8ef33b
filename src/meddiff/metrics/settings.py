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
    """Images whose pairs SSIM and MS-SSIM are of: `all`, and `black_background` for those that are
    dark in their upper right corner, as the study did for hand radiographs."""
    ssim_images: int | None = Field(default=None, ge=2)
    """Images of a set, the first of their random order, whose pairs SSIM and MS-SSIM are of; null:
    all, whose pairs grow with their square (6,834 images have 23 million)."""
    reference: list[SplitName] | None = Field(default=None, min_length=1)
    """Image sets that distances compare with; null: by protocol, `leak_free` with the test set,
    `as_published` with all."""
    augment_real: bool = False
    """Change real images at random as `diffusion.augmentation` does before distances compare with
    them, so that like is compared with like, as the study did for hand radiographs."""
    n_resamples: int = Field(default=200, ge=4)
    """Random half-samples of the images behind each 95 % interval."""
    likelihood_images: int = Field(default=64, ge=1)
    """Images of a set whose likelihood `results/likelihood.csv` is of; each takes 80 passes of the
    net forth and back."""

    _differ = field_validator("ssim_on", "reference")(without_repeats)
