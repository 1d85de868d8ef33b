"""Weights that others publish: what they are, and what to do without them.

`data/registry.csv` says where their files are fetched from and with which digest;
`fetching.py` fetches them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainedWeights:
    """Published weights of a net.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their file: `weights/<file>` in the registry, and its name in torch's hub folder.
        remedy: what a user does who cannot have them, e.g. "leave clip out of
            extractors.published".
        fallback: what a run that may do without them takes instead.
    """

    name: str
    file: str
    remedy: str
    fallback: str = "random weights"
