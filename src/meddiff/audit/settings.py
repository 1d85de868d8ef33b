"""Settings of the audit of the data."""

from pydantic import Field, PositiveInt

from meddiff.core.settings import Section


class Encoding(Section):
    """The encoding shortcut: can random labels be told when one label's images are re-encoded?"""

    images: PositiveInt = 600
    """Images at most, drawn from those that are used."""
    side: PositiveInt = 224
    """Side in px at which they are re-encoded, as the study's were; larger ones are reduced."""
    quality: int = Field(default=75, ge=1, le=95)
    """JPEG quality of the re-encoded images, Pillow's default."""
    folds: int = Field(default=5, ge=2)
    """Parts of the images; each is held out once."""


class Audit(Section):
    """What a reader must know of the data: `results/audit/`."""

    encoding: Encoding = Encoding()
    worst_pairs: PositiveInt = 12
    """Near-duplicate pairs shown, those that are least alike first."""
