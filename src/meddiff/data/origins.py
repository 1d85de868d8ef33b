"""Where images of somebody else lie, and which of them are taken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a class's images lie.

    Attributes:
        key: of the configuration, that names them.
        path: what `meddiff.data.listing.list_images` reads.
        label: folder or label of the images there that are meant; None for all.
    """

    key: str
    path: str
    label: str | None


@dataclass(frozen=True)
class Selection:
    """Which of a class's images are taken.

    Attributes:
        first: number of those before, which another image set has.
        images: those before and those that are wanted; at random where there are more, each in the
            order of its name.
        exact: fewer are refused, not reported.
        seed: fixes what is taken at random.
    """

    first: int
    images: int
    exact: bool
    seed: int
