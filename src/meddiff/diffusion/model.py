"""The denoising net and the forward process."""

from typing import Any, Protocol

from torch import Tensor, nn

from meddiff.core.imports import lean_imports


class Schedule(Protocol):
    """A forward process: what is used of MONAI's `DDPMScheduler`.

    Attributes:
        num_train_timesteps: steps T.
        prediction_type: "epsilon", "v_prediction" or "sample".
        alphas_cumprod: products of alphas by time, float32 (T,), falling.
    """

    num_train_timesteps: int
    prediction_type: str
    alphas_cumprod: Tensor

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return noisy images (N,C,H,W) of clean ones and noise of that shape, at times (N,)."""

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the velocity (N,C,H,W) of the same (Salimans and Ho 2022, appendix D)."""


def build_network(
    image_channels: int,
    *,
    channels: list[int],
    attention: list[bool],
    residual_blocks: int,
    head_channels: int,
    norm_groups: int,
) -> nn.Module:
    """Return MONAI's U-Net for images of shape (N, image_channels, H, W).

    `include_fc=False` leaves out the extra projection that MONAI core added to attention: only
    without it do weights trained with the study's `monai-generative` give the same outputs.
    """
    with lean_imports():
        from monai.networks.nets import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=image_channels,
        out_channels=image_channels,
        num_res_blocks=residual_blocks,
        channels=channels,
        attention_levels=attention,
        num_head_channels=head_channels,
        norm_num_groups=norm_groups,
        include_fc=False,
    )
    return network


class Doubled(nn.Module):
    """Nearest-neighbour upsampling by 2, whose gradient is a sum in a fixed order.

    That of `nn.Upsample` becomes a scatter when it is compiled: slow, or different in every run.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map (N,C,H,W) to (N,C,2H,2W), channels last."""
        count, channels, height, width = images.shape
        rows = images.permute(0, 2, 3, 1)[:, :, None, :, None]
        repeated = rows.expand(count, height, 2, width, 2, channels)
        return repeated.reshape(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def double_by_repeating(network: nn.Module) -> None:
    """Replace a net's `nn.Upsample` modules, all of factor 2, by `Doubled`; no weight changes."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Upsample):
                setattr(parent, name, Doubled())


def build_schedule(
    *, timesteps: int, betas: str, beta_start: float, beta_end: float, prediction: str
) -> Schedule:
    """Return MONAI's DDPM scheduler.

    Args:
        timesteps: steps T of the forward process.
        betas: "linear" variances (Ho et al. 2020, section 4) or "cosine" (Nichol and Dhariwal
            2021, eq. 17).
        beta_start: first variance of the linear schedule.
        beta_end: last variance of the linear schedule.
        prediction: "epsilon", "v_prediction" or "sample" (the clean image).
    """
    with lean_imports():
        from monai.networks.schedulers import DDPMScheduler

    bounds: dict[str, Any] = {"beta_start": beta_start, "beta_end": beta_end}
    schedule: Schedule = DDPMScheduler(
        num_train_timesteps=timesteps,
        schedule={"linear": "linear_beta", "cosine": "cosine"}[betas],
        prediction_type=prediction,
        **(bounds if betas == "linear" else {}),
    )
    return schedule
