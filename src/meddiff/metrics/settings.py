"""Settings of SSIM and MS-SSIM."""

from pydantic import PositiveFloat, PositiveInt

from meddiff.settings import Section


class SsimWindow(Section):
    """Gaussian window of SSIM."""

    kernel_size: PositiveInt = 11
    """Side of the window in px."""
    sigma: PositiveFloat = 1.5
    """Standard deviation of the window in px."""


class MsSsimWindow(SsimWindow):
    """Gaussian window of MS-SSIM with five scales: at most 2 px at 32 px, 4 px at 64 px."""

    kernel_size: PositiveInt = 2


class Metrics(Section):
    """Settings of SSIM and MS-SSIM."""

    ssim: SsimWindow = SsimWindow()
    ms_ssim: MsSsimWindow = MsSsimWindow()
