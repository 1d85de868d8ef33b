"""SkinLesNet (Azeem et al. 2024): a small convolutional classifier of skin lesions."""

from torch import Tensor, nn


class SkinLesNet(nn.Module):
    """Four 3x3 convolutions, each with 2x2 max-pooling, and two linear layers.

    Args:
        classes: number of classes.
        size: side of the images in px, a multiple of 16.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.dimension = 128 * (size // 16) ** 2
        self.convolutions = nn.Sequential(
            *_block(3, 32), *_block(32, 64), *_block(64, 64), *_block(64, 128), nn.Flatten()
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(self.dimension, 64), nn.ReLU(),
            nn.Dropout(0.3), nn.Linear(64, classes),
        )  # fmt: skip

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,3) to float32 (N,3,H,W) in [0, 1]."""
        return images.permute(0, 3, 1, 2).float() / 255

    def features(self, batch: Tensor) -> Tensor:
        """Return the flattened last convolution, (N, dimension): 2,048-d at 64 px."""
        return self.convolutions(batch)

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits, (N, classes)."""
        return self.classifier(self.features(batch))


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
