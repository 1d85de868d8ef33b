"""The autoencoder: images in, latent images of unit variance out, and back."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddiff.core.checkpoints import load_checkpoint, wrong_checkpoint
from meddiff.core.imports import lean_imports
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.pixels import to_model_range, to_unit_range

RANGE = (-1, 1)
"""Of the pixels that it sees."""
PREFIX = "autoencoder."
"""Before the names of its weights in a DDPM's checkpoint."""
AT_ONCE = 8
"""Images that it encodes at once, always, since that decides on the last bits."""


def from_pixels(pixels: Tensor) -> Tensor:
    """Map uint8 (N,H,W,C) to what it sees, float (N,C,H,W) in [-1, 1]."""
    return to_model_range(to_unit_range(pixels), RANGE)


class Autoencoder(nn.Module):
    """One of MONAI's autoencoders.

    Attributes:
        factor: pixels along one of a latent image.
        mean, spread: of the training images' latents by channel, (1,c,1,1).
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int, settings: LatentSettings) -> None:
        super().__init__()
        self.channels, self.factor = channels, settings.factor
        self.is_normal = settings.kind == "autoencoder_kl"
        build = _autoencoder_kl if self.is_normal else _vqvae
        self.net: Any = build(channels, settings)
        self.register_buffer("mean", torch.zeros(1, settings.latent_channels, 1, 1))
        self.register_buffer("spread", torch.ones(1, settings.latent_channels, 1, 1))

    def reconstruct(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions, and the loss of their latents ().

        It is the mean divergence of an image's latents from a standard normal density (Kingma and
        Welling 2014, appendix B), or the loss of a codebook.

        Args:
            images: float (N,C,H,W) in [-1, 1].
            noise: standard normal (N,c,h,w); a codebook takes none.
        """
        if self.is_normal:
            mean, spread = self.net.encode(images)
            variance = spread**2
            divergence = (mean**2 + variance - variance.log() - 1).sum((1, 2, 3)).mean() / 2
            return self.net.decode(mean + spread * noise), divergence
        codes, loss = self.net.quantize(self.net.encode(images))
        return self.net.decode(codes), loss

    def raw(self, images: Tensor) -> Tensor:
        """Return latents (N,c,h,w) as they come, the means of normal ones."""
        latents: Tensor = self.net.encode(images)[0] if self.is_normal else self.net.encode(images)
        return latents

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Map uint8 (N,H,W,C) to latents (N,c,h,w), of mean 0 and variance 1 by channel."""
        device = self.mean.device
        parts = []
        for part in pixels.split(AT_ONCE):
            images = from_pixels(part.to(device))
            empty = images.new_zeros(AT_ONCE - len(images), *images.shape[1:])
            parts.append(self.raw(torch.cat([images, empty]))[: len(images)])
        return (torch.cat(parts) - self.mean) / self.spread

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Map such latents to images (N,C,H,W) in about [-1, 1]; a codebook takes the nearest."""
        raw = latents * self.spread + self.mean
        if not self.is_normal:
            raw, _ = self.net.quantize(raw)
        images: Tensor = self.net.decode(raw)
        return images

    @torch.no_grad()
    def standardise(self, pixels: Tensor) -> None:
        """Let the latents of these images, uint8 (N,H,W,C), have mean 0 and variance 1."""
        self.mean.zero_()
        self.spread.fill_(1)
        latents = self.encode(pixels)
        self.mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        self.spread.copy_(latents.std((0, 2, 3), keepdim=True).clamp(min=1e-6))


def load_autoencoder(checkpoint: str | Path, device: str | torch.device = "cpu") -> Autoencoder:
    """Read an autoencoder as `train_autoencoder`'s script writes it.

    Raises:
        MeddiffError: the file is truncated, or no checkpoint of an autoencoder.
    """
    weights, about = load_checkpoint(checkpoint)
    try:
        settings = LatentSettings.model_validate(about["latent"])
        autoencoder = Autoencoder(about["channels"], settings)
        autoencoder.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise wrong_checkpoint(checkpoint, "autoencoder", error) from error
    return autoencoder.to(device).eval()


def _autoencoder_kl(channels: int, settings: LatentSettings) -> nn.Module:
    with lean_imports():
        from monai.networks.nets import AutoencoderKL

    network: nn.Module = AutoencoderKL(
        spatial_dims=2,
        in_channels=channels,
        out_channels=channels,
        channels=settings.channels,
        num_res_blocks=settings.residual_blocks,
        attention_levels=[False] * len(settings.channels),
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_groups,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
        include_fc=False,
    )
    return network


def _vqvae(channels: int, settings: LatentSettings) -> nn.Module:
    with lean_imports():
        from monai.networks.nets import VQVAE

    # Each of its levels halves the resolution, the first too.
    levels = settings.channels[1:]
    network: nn.Module = VQVAE(
        spatial_dims=2,
        in_channels=channels,
        out_channels=channels,
        channels=levels,
        num_res_layers=settings.residual_blocks,
        num_res_channels=levels,
        downsample_parameters=[(2, 4, 1, 1)] * len(levels),
        upsample_parameters=[(2, 4, 1, 1, 0)] * len(levels),
        num_embeddings=settings.codes,
        embedding_dim=settings.latent_channels,
    )
    return network
