"""Settings of metrics."""

from pydantic import Field, PositiveFloat

from meddiff.core.settings import Section
from meddiff.metrics.images import SMALLEST_WINDOW


class SsimWindow(Section):
    """Gaussian window of SSIM."""

    kernel_size: int = Field(default=11, ge=SMALLEST_WINDOW)
    """Side of the window in px."""
    sigma: PositiveFloat = 1.5
    """Standard deviation of the window in px."""


class MsSsimWindow(SsimWindow):
    """Gaussian window of MS-SSIM with five scales: at most 2 px at 32 px, 4 px at 64 px. Smaller
    images have no MS-SSIM."""

    kernel_size: int = Field(default=2, ge=SMALLEST_WINDOW)


class Metrics(Section):
    """How image sets are compared."""

    ssim: SsimWindow = SsimWindow()
    ms_ssim: MsSsimWindow = MsSsimWindow()
    n_resamples: int = Field(default=200, ge=4)
    """Random half-samples of the images behind each 95 % interval."""
