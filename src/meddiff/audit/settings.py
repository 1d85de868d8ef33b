"""Settings of the audit of the data."""

from pydantic import Field, PositiveInt

from meddiff.core.settings import Settings


class EncodingSettings(Settings):
    """The encoding shortcut: prediction of random labels, one of which is re-encoded."""

    images: PositiveInt = 600
    """Largest number of images, a random choice of the selected ones."""
    side: PositiveInt = 224
    """Side in px at which they are re-encoded, as in the study; larger ones are reduced."""
    quality: int = Field(default=75, ge=1, le=95)
    """JPEG quality of the re-encoded images, Pillow's default."""
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation."""


class TrainingsSettings(Settings):
    """Short trainings of a DDPM, each with one of the study's flaws."""

    epochs: PositiveInt = 40
    """Length of each; the study's learning rate was near 0 after 40."""
    seeds: PositiveInt = 3
    """Trainings of each kind."""


class AuditSettings(Settings):
    """The audit of the data, `results/audit/`."""

    encoding: EncodingSettings = EncodingSettings()
    trainings: TrainingsSettings = TrainingsSettings()
    worst_pairs: PositiveInt = 12
    """Near-duplicate pairs in the figure, the least similar first."""
