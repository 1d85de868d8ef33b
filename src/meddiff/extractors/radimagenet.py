"""ResNet50 trained on RadImageNet (Mei et al. 2022): a Keras net turned into one of torch."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck

BGR_MEAN = (0.406, 0.456, 0.485)
KERAS_EPSILON = 1.001e-5


class RadImageNet(nn.Module):
    """The net without its classifier; features are the spatial mean of its last maps.

    Keras's ResNet50 differs from torchvision's in three ways: convolutions have biases, a block
    that halves the resolution does so in its first convolution, and batch norm's epsilon.
    """

    dimension = 2048
    trained_size = 224

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet50(weights=None)
        self.trunk.fc = nn.Identity()
        for module in self.trunk.modules():
            if isinstance(module, nn.Conv2d):
                module.bias = nn.Parameter(torch.zeros(module.out_channels))
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = KERAS_EPSILON
            elif isinstance(module, Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) to float32 (N,3,H,W): BGR in [0, 1], minus the mean."""
        mean = images.new_tensor(BGR_MEAN, dtype=torch.float32)
        colours = (images.float() / 255).expand(-1, -1, -1, 3).flip(-1)
        return (colours - mean).permute(0, 3, 1, 2)

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, 2048)."""
        pooled: Tensor = self.trunk(batch)
        return pooled


def build(weights: Mapping[str, Tensor] | None) -> RadImageNet:
    """Return the net with its published weights, or with random ones."""
    network = RadImageNet()
    if weights is not None:
        network.trunk.load_state_dict(weights)
    return network
