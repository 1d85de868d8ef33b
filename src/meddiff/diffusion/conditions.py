"""What a denoising net is given beside noisy images: their class, and how they were changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.diffusion.settings import DiffusionSettings

CHANGES = 9
"""Numbers that say how augmentation changed an image."""


class ConditionEmbedding(nn.Embedding):
    """MONAI's class embedding, beside it a linear map of changes (Karras et al. 2022, app. F.2).

    Args:
        changes: columns of changes; 0 for none.
        dimension: of the net's embedding of times, to which this one is added.
    """

    def __init__(self, labels: int, changes: int, dimension: int) -> None:
        super().__init__(labels, dimension)
        self.changes = nn.Linear(changes, dimension, bias=False) if changes else None

    def forward(self, conditions: Tensor) -> Tensor:
        """Map float (N, 1 + changes), the label in its first column, to (N, dimension)."""
        embedded = super().forward(conditions[:, 0].long())
        return embedded if self.changes is None else embedded + self.changes(conditions[:, 1:])


@dataclass(frozen=True)
class Conditions:
    """What a net is conditioned on.

    Attributes:
        classes: names in the order of their labels; none for a net of one class.
        with_null: whether there is one more label, which stands for any class.
        changes: columns of changes by augmentation.
    """

    classes: tuple[str, ...] = ()
    with_null: bool = False
    changes: int = 0

    def __bool__(self) -> bool:
        return bool(self.classes or self.changes)

    @property
    def null(self) -> int:
        """The label that stands for any class."""
        return len(self.classes)

    def add_to(self, network: Any) -> None:
        """Give MONAI's U-Net the embedding of these conditions, if there are any."""
        if self:
            labels = max(1, len(self.classes) + self.with_null)
            dimension = network.time_embed[0].out_features
            network.num_class_embeds = labels
            network.class_embedding = ConditionEmbedding(labels, self.changes, dimension)

    def rows(self, labels: Tensor, changes: Tensor | None = None) -> Tensor:
        """Return the conditions of images, float32 (N, 1 + changes).

        Args:
            labels: int (N,).
            changes: float (N, changes); None where nothing was changed.
        """
        table = torch.zeros(len(labels), 1 + self.changes)
        table[:, 0] = labels
        if changes is not None:
            table[:, 1:] = changes
        return table

    def of_class(self, name: str) -> Tensor:
        """Return the conditions (1, 1 + changes) of unchanged images of a class.

        Raises:
            MeddiffError: the net did not learn this class.
        """
        if self.classes and name not in self.classes:
            raise MeddiffError(
                f"this DDPM draws {', '.join(self.classes)} and no {name!r}: name one of them"
            )
        label = self.classes.index(name) if self.classes else 0
        return self.rows(torch.tensor([label]))

    def of_any(self) -> Tensor:
        """Return the conditions (1, 1 + changes) of unchanged images of whatever class."""
        return self.rows(torch.tensor([self.null]))


NONE = Conditions()


def conditions_of(settings: DiffusionSettings, classes: Sequence[str]) -> Conditions:
    """Return what a net of these settings is conditioned on."""
    return Conditions(
        tuple(classes) if settings.conditional else (),
        with_null=settings.conditional and settings.label_dropout > 0,
        changes=CHANGES if settings.condition_on_augmentation else 0,
    )
