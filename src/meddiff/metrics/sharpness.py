"""How much detail images have: the variance of their Laplacian."""

import numpy as np

from meddiff.metrics.features import Array
from meddiff.metrics.images import Images, checked


def sharpness(images: Images) -> Array:
    """Return the variance of the Laplacian of each image, float64 (n,), in squared grey levels.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study" (ICPR
    2000), LAPV: low for blurred images, high for noise. Of the mean of the channels, with four
    neighbours, without borders; 0 for images below 3 px.

    Args:
        images: uint8 (n,h,w) or (n,h,w,c).
    """
    values = np.zeros(len(images))
    for row, image in enumerate(checked("sharpness", "images", images, at_least=1)):
        grey = image.mean(axis=2)
        around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        laplacian = around - 4 * grey[1:-1, 1:-1]
        values[row] = laplacian.var() if laplacian.size else 0.0
    return values
