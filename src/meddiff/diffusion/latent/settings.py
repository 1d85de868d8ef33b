"""Settings of the autoencoder."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from meddiff.core.settings import DurationSettings, Fraction


class LatentSettings(DurationSettings):
    """The autoencoder of latent diffusion (Rombach et al. 2022), trained on all training images:
    for images of 128 px and more."""

    steps: PositiveInt | None = 2000
    kind: Literal["autoencoder_kl", "vqvae"] = "autoencoder_kl"
    """MONAI's AutoencoderKL, or its VQVAE with a codebook (van den Oord et al. 2017)."""
    channels: list[PositiveInt] = Field(default=[32, 64, 64], min_length=2)
    """Channels of each level; each further level halves the resolution: three turn 128 px to 32."""
    latent_channels: PositiveInt = 3
    """Channels of a latent image."""
    residual_blocks: PositiveInt = 1
    """Residual blocks per level."""
    norm_groups: PositiveInt = 16
    """Groups of the group normalisation of `autoencoder_kl`; divides every entry of `channels`."""
    codes: PositiveInt = 256
    """Entries of the codebook of `vqvae`."""
    batch_size: PositiveInt = 8
    """Images per optimiser step."""
    lr: PositiveFloat = 5e-4
    """Learning rate of Adam, for autoencoder and discriminator."""
    kl_weight: NonNegativeFloat = 1e-6
    """Weight of the KL divergence of `autoencoder_kl`, relative to the mean absolute error of
    pixels."""
    perceptual_weight: NonNegativeFloat = 0.0
    """Weight of LPIPS (Zhang et al. 2018) between images and their reconstructions. Above 0 it
    needs ImageNet's AlexNet, from torch's hub folder or its publisher (233 MB), and
    results/reconstruction.csv has LPIPS, too."""
    adversarial_weight: NonNegativeFloat = 0.01
    """Weight of a patch discriminator (PatchGAN, least squares); 0 for none."""
    adversarial_from: Fraction = 0.5
    """Share of the steps after which the discriminator is used."""

    @model_validator(mode="after")
    def _groups_divide(self) -> "LatentSettings":
        odd = [c for c in self.channels if c % self.norm_groups]
        if odd and self.kind == "autoencoder_kl":
            raise ValueError(f"channels {odd} are no multiples of norm_groups {self.norm_groups}")
        return self

    @property
    def factor(self) -> int:
        """Pixels of an image along one of its latent image."""
        return 2 ** (len(self.channels) - 1)
