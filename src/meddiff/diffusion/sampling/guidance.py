"""A net under the conditions of one class, guided towards it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.conditions import Conditions


def conditioned(
    network: nn.Module, conditions: Conditions, name: str, guidance: float = 0.0
) -> Callable[..., Tensor]:
    """Return a net's forward pass, `(noisy, timesteps=...)`, for images of a class.

    Guidance w returns (1 + w) x conditional - w x unconditional output (Ho and Salimans 2022,
    eq. 6), both from one batch. It is linear, so that it holds for noise, velocity, score and clean
    image alike, whichever the net predicts.

    Raises:
        MeddiffError: the net did not learn this class, or is to be guided and never learnt without
            classes.
    """
    if guidance and not (conditions.classes and conditions.with_null):
        raise MeddiffError(
            f"sampling.guidance {guidance:g} needs a DDPM trained with diffusion.conditional: true "
            "and a diffusion.label_dropout above 0: set it to 0"
        )
    if not conditions:
        return network
    device = next(network.parameters()).device
    own, anything = conditions.of_class(name).to(device), conditions.of_any().to(device)

    def plain(noisy: Tensor, timesteps: Tensor) -> Tensor:
        rows = own.expand(len(noisy), -1)
        output: Tensor = network(noisy, timesteps=timesteps, class_labels=rows)
        return output

    def guided(noisy: Tensor, timesteps: Tensor) -> Tensor:
        rows = [each.expand(len(noisy), -1) for each in (own, anything)]
        twice = (torch.cat([each, each]) for each in (noisy, timesteps))
        both = network(next(twice), timesteps=next(twice), class_labels=torch.cat(rows))
        conditional, unconditional = both.float().chunk(2)
        return (1 + guidance) * conditional - guidance * unconditional

    return guided if guidance else plain
