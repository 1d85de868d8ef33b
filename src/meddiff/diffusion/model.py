"""The denoising net."""

from torch import Tensor, nn

from meddiff.core.imports import lean_imports
from meddiff.diffusion.conditions import NONE, Conditions


def build_network(
    image_channels: int,
    *,
    channels: list[int],
    attention: list[bool],
    residual_blocks: int,
    head_channels: int,
    norm_groups: int,
    conditions: Conditions = NONE,
) -> nn.Module:
    """Return MONAI's U-Net for images of shape (N, image_channels, H, W).

    With conditions it also takes `class_labels`, as `Conditions.rows` makes them.
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
    conditions.add_to(network)
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
