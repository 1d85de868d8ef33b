"""Settings of the classification accuracy score."""

from typing import Literal

from pydantic import PositiveInt

from meddiff.extractors.settings import Training


class Cas(Training):
    """Classification accuracy score: SkinLesNet trained on each arm, tested on real images."""

    arms: list[Literal["synthetic", "real", "mixed"]] = ["synthetic", "real", "mixed"]
    """Training sets to compare."""
    seeds: PositiveInt = 1
    """Repetitions with different seeds."""
    steps: PositiveInt | None = 300
