"""What is measured on the original images, at the size that each net looks at."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np

from meddiff.core.progress import Progress
from meddiff.data.listing import Listing
from meddiff.data.preprocessing.resizing import centre_crop, cut, resize_bilinear
from meddiff.data.readers.depth import Window
from meddiff.evaluation.compared import PAIRED
from meddiff.evaluation.image_sets import with_same_channels
from meddiff.evaluation.scores import noise_count
from meddiff.metrics.images import Images, places_by_contents
from meddiff.metrics.noise import noise_blocks

LEAST_PAIRED = 24
PAIRED_SIZE = 64
LARGEST_PAIRED = 512
"""Px from which images are reduced for SSIM: 24 scans of 4,000 px would take gigabytes."""


class SizedExtractor(Protocol):
    """A net that states the size of its images: `meddiff.load_extractor`."""

    @property
    def side(self) -> int | None:
        """Px that it brings images of any size to, or None."""

    @property
    def reduced_size(self) -> int:
        """Px that images are reduced to for it where it has no `side`."""

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return features (n,d) of uint8 images (n,h,w,C)."""

    def features_of_each(
        self, images: Iterable[np.ndarray], *, device: str = "cpu"
    ) -> Iterator[np.ndarray]:
        """Yield features (d,) of uint8 images (h,w,C)."""


@dataclass(frozen=True)
class Framing:
    """How original images are read.

    Attributes:
        crop: side of the centred square in px of each file, or None for the largest.
        whole: extractors that get images as they are where there is no `crop`; others get squares.
        windows: of images of more than 8 bits, by type of pixels.
    """

    crop: int | None
    whole: Collection[str]
    windows: dict[str, Window]


class Measured(TypedDict):
    """What `evaluate` takes beside images: features by extractor and set, and images for SSIM."""

    features: Mapping[str, Mapping[str, np.ndarray]]
    pairs: Mapping[str, Images]


def measure(
    listings: Mapping[str, Listing],
    small: Mapping[str, Images],
    extractors: Mapping[str, SizedExtractor],
    framing: Framing,
    *,
    most: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Measured:
    """Return the features of every extractor at its own size, and images whose pairs SSIM takes.

    Args:
        listings: `real`, `synthetic` and perhaps other sets.
        small: the same images reduced, uint8 (n,h,w,C), all of one size.
        most: images of a set whose pairs SSIM takes, None for as many as take a usual time.
    """
    features = {
        name: features_at_own_size(
            listings, small, extractor, name, framing, seed=seed, device=device
        )
        for name, extractor in extractors.items()
    }
    compared = {key: listings[key] for key in ("real", "synthetic")}
    pairs = paired_images(compared, small, framing, most=most, seed=seed)
    return {"features": features, "pairs": pairs}


def features_at_own_size(
    listings: Mapping[str, Listing],
    small: Mapping[str, Images],
    extractor: SizedExtractor,
    name: str,
    framing: Framing,
    *,
    seed: int,
    device: str = "cpu",
) -> dict[str, np.ndarray]:
    """Return features (n,d) of each set, and of `noise` like `real`, for the ceiling.

    The noise is drawn in the likeness of the `small` images.
    """
    features = {}
    for key, listing in listings.items():
        if extractor.side is None:
            size = extractor.reduced_size
            images = listing.pixels(crop=framing.crop, size=size, windows=framing.windows)
            features[key] = extractor.features(images, device=device)
        else:
            with Progress(len(listing.rows), f"{name}: {key} images", "image") as progress:
                originals = listing.originals(
                    crop=framing.crop, whole=name in framing.whole, windows=framing.windows
                )
                features[key] = _streamed(originals, extractor, device, progress)
    side = extractor.side or extractor.reduced_size
    count = noise_count(len(small["real"]), len(small["synthetic"]))
    blocks = noise_blocks(small["real"], count, (side, side), seed=seed, name="evaluate")
    noise = (image for block in blocks for image in block)
    features["noise"] = np.stack(list(extractor.features_of_each(noise, device=device)))
    return features


def paired_images(
    listings: Mapping[str, Listing],
    small: Mapping[str, Images],
    framing: Framing,
    *,
    most: int | None,
    seed: int,
) -> dict[str, Images]:
    """Return a random part of each set at the size that all have in common, for SSIM.

    That is the smallest side of an image that is looked at, or `LARGEST_PAIRED`. Which are, and
    their order, is that of `places_by_contents` of `small`.

    Args:
        most: images of a set, or None for as many as take as long as 300 of 64 px, 24 at least.
    """
    chosen = {key: places_by_contents(small[key], seed)[: most or PAIRED] for key in listings}
    shapes = {
        image.shape[:2]
        for key, places in chosen.items()
        for _, image in _originals(listings[key], places, framing)
    }
    sides = [min(shape) for shape in shapes]
    size = min(LARGEST_PAIRED, *sides)
    as_stored = len(shapes) == 1 and sides[0] <= LARGEST_PAIRED
    if most is None:
        most = max(LEAST_PAIRED, min(PAIRED, int(PAIRED * (PAIRED_SIZE / size) ** 1.5)))
    pairs = {}
    for key, places in chosen.items():
        rank = {place: row for row, place in enumerate(places[:most].tolist())}
        images: Images | None = None
        for place, image in _originals(listings[key], places[:most], framing):
            if not as_stored:
                square = cut(image, centre_crop(image.shape[0], image.shape[1], None))
                image = resize_bilinear([square], size)[0]
            if images is None:
                images = np.empty((len(rank), *image.shape), np.uint8)
            images[rank[place]] = image
        assert images is not None
        pairs[key] = images
    return with_same_channels(pairs)


def _streamed(
    originals: Iterable[tuple[int, np.ndarray]],
    extractor: SizedExtractor,
    device: str,
    progress: Progress,
) -> np.ndarray:
    """Return features (n,d) in the order of the rows, of images that are read one by one."""
    order: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for place, image in originals:
            order.append(place)
            yield image
            progress.advance()

    features = np.stack(list(extractor.features_of_each(images(), device=device)))
    arranged = np.empty_like(features)
    arranged[order] = features
    return arranged


def _originals(
    listing: Listing, places: np.ndarray, framing: Framing
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the centre squares of some images, which SSIM compares."""
    yield from listing.originals(places.tolist(), crop=framing.crop, windows=framing.windows)
