"""Radiomic features: first-order statistics and textures of whole grey images, without a net.

`fastrad` computes them as pyradiomics (van Griethuysen et al. 2017) defines them. Run lengths
(GLRLM) are left out: of flat images fastrad 1.0.0 gives other values than pyradiomics 3.0.1. Nor is
this the Fréchet Radiomics Distance (Konz et al. 2026), which takes filtered images besides.
"""

from importlib.metadata import version
from typing import Any

import torch
from fastrad import FeatureExtractor, FeatureSettings, Mask, MedicalImage
from torch import Tensor, nn

CLASSES = ("firstorder", "glcm", "glszm", "gldm", "ngtdm")
BIN_WIDTH = 25.0
"""Grey levels of a bin, pyradiomics' default."""


class Radiomics(nn.Module):
    """Radiomic features in the place of a net's.

    They differ from each other by orders of magnitude, so that distances are of features divided by
    their standard deviation in the real images (`standardised`).
    """

    dimension = 79
    trained_size = 64
    block = 1
    standardised = True

    def __init__(self) -> None:
        super().__init__()
        settings = FeatureSettings(feature_classes=list(CLASSES), bin_width=BIN_WIDTH, device="cpu")
        self._extractor: Any = FeatureExtractor(settings)
        self.line = (
            f"radiomics (fastrad {version('fastrad')}, bins of {BIN_WIDTH:g} grey levels; "
            "standardised by the real images)"
        )

    @staticmethod
    def transform(images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) to grey levels, float64 (N,1,H,W)."""
        return images.double().mean(dim=-1).unsqueeze(1)

    def features(self, batch: Tensor) -> Tensor:
        """Return float64 (N, 79)."""
        rows = []
        for grey in batch.cpu():
            image, mask = MedicalImage(grey), Mask(torch.ones_like(grey))
            rows.append(list(self._extractor.extract(image, mask).values()))
        return torch.tensor(rows, dtype=torch.float64)
