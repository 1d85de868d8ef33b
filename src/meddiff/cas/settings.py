"""Settings of the classification accuracy score."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from meddiff.extractors.settings import Training


class Cas(Training):
    """Classification accuracy score: SkinLesNet trained on each arm, tested on real images."""

    arms: list[Literal["synthetic", "real", "mixed"]] = Field(
        default=["synthetic", "real", "mixed"],
        min_length=1,
        json_schema_extra={"uniqueItems": True},
    )
    """Training sets to compare."""
    seeds: PositiveInt = 1
    """Repetitions with different seeds."""
    steps: PositiveInt | None = 300

    @model_validator(mode="after")
    def _arms_differ(self) -> "Cas":
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms repeat: {self.arms}")
        return self
