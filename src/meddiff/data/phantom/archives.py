"""Write the phantom data set as the archives that the real sources deliver.

The bytes of an archive depend on the arguments only, not on the number of workers.
"""

import gzip
import io
import logging
import multiprocessing
import os
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd
from PIL import Image, ImageEnhance

from meddiff.core.errors import MeddiffError
from meddiff.core.files import atomic_write
from meddiff.core.randomness import stream
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_skin, sample_view
from meddiff.data.phantom.hand import draw_hand

logger = logging.getLogger(__name__)

QUALITY = 90
MALIGNANT_SHARE_2016 = 0.19
FIRST_2016 = 5_000_000
"""Number of the first ISIC 2016 image, far from those of the editions that are drawn apart."""
KAGGLE_COLUMNS = ["isic_id", "patient_id", "target"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Photograph(NamedTuple):
    """Seeds and class of one image of an edition; `edit_seed` 0 leaves it unedited."""

    target: int
    skin_seed: int
    lesion_seed: int
    seed: int
    edit_seed: int


def write_kaggle_edition(
    path: str | Path, plan: pd.DataFrame, *, size: int = 224, workers: int = 1
) -> None:
    """Write one edition as Kaggle delivers `isic-<year>-jpg-224x224-resized.zip`.

    Members: `train-image/image/<isic_id>.jpg` and `train-metadata.csv` (an unnamed index, isic_id,
    patient_id, target). With several workers, a calling script needs `if __name__ == "__main__":`.
    """
    plan = plan.sort_values("isic_id", ignore_index=True)
    photographs = [Photograph(*row) for row in plan[list(Photograph._fields)].to_numpy().tolist()]
    with _timed(len(plan), path), _zip(path) as archive:
        jpegs = _map(partial(_draw_photograph, size=size), photographs, workers)
        for isic_id, jpeg in zip(plan["isic_id"], jpegs, strict=True):
            archive.writestr(stored_member(f"train-image/image/{isic_id}.jpg"), jpeg)
        archive.writestr(stored_member("train-metadata.csv"), plan[KAGGLE_COLUMNS].to_csv())


def write_isic2016(
    train_images: str | Path,
    train_masks: str | Path,
    test_images: str | Path,
    test_masks: str | Path,
    *,
    seed: int,
    n_train: int,
    n_test: int,
    size_range: tuple[int, int] = (150, 260),
    workers: int = 1,
) -> None:
    """Write the four zips of ISIC 2016, part 1: images (JPEG) and masks (8-bit PNG, 0 or 255).

    Members: `ISBI2016_ISIC_Part1_<Training|Test>_Data/ISIC_5000000.jpg` and
    `ISBI2016_ISIC_Part1_<Training|Test>_GroundTruth/ISIC_5000000_Segmentation.png`; test ids
    follow the training ids. With several workers, a calling script needs
    `if __name__ == "__main__":`.

    Args:
        seed: image i depends on (seed, i) alone.
        size_range: smallest and largest width in pixels; the height is three quarters of it.
    """
    draw = partial(_draw_segmented, seed=seed, size_range=size_range)
    pairs = _map(draw, range(n_train + n_test), workers)
    with (
        _timed(n_train + n_test, train_images),
        _zip(train_images) as train_data,
        _zip(train_masks) as train_truth,
        _zip(test_images) as test_data,
        _zip(test_masks) as test_truth,
    ):
        for number, (jpeg, png) in enumerate(pairs):
            part, data, truth = (
                ("Training", train_data, train_truth)
                if number < n_train
                else ("Test", test_data, test_truth)
            )
            folder, name = f"ISBI2016_ISIC_Part1_{part}", f"ISIC_{FIRST_2016 + number:07d}"
            data.writestr(stored_member(f"{folder}_Data/{name}.jpg"), jpeg)
            truth.writestr(stored_member(f"{folder}_GroundTruth/{name}_Segmentation.png"), png)


def write_mednist(path: str | Path, *, seed: int, n: int) -> None:
    """Write a `.tar.gz` with n members `MedNIST/Hand/000000.jpeg`: 64x64 pixels, grey.

    Image i depends on (seed, i) alone.
    """
    with (
        _timed(n, path),
        atomic_write(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for number in range(n):
            jpeg = _encode(Image.fromarray(draw_hand(stream(seed, "phantom hand", number))))
            member = tarfile.TarInfo(f"MedNIST/Hand/{number:06d}.jpeg")
            member.size = len(jpeg)
            archive.addfile(member, io.BytesIO(jpeg))


def _draw_photograph(photograph: Photograph, size: int) -> bytes:
    skin = sample_skin(stream(photograph.skin_seed, "phantom skin"))
    rng = stream(photograph.lesion_seed, "phantom lesion")
    lesion = sample_lesion(rng, bool(photograph.target), skin)
    view = sample_view(stream(photograph.seed, "phantom view"))
    jpeg = _encode(Image.fromarray(draw_lesion(lesion, view, size)[0]))
    return _edit(jpeg, photograph.edit_seed) if photograph.edit_seed else jpeg


def _edit(jpeg: bytes, seed: int) -> bytes:
    """Re-encode an image at another quality, in three of four cases after a slight change."""
    rng = stream(seed, "phantom edit")
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    width, height = image.size
    change = rng.choice(("none", "rescale", "crop", "brightness"))
    if change == "rescale":
        image = image.resize((width * 200 // 224, height * 200 // 224)).resize((width, height))
    elif change == "crop":
        left, top, right, bottom = rng.uniform(0.005, 0.015, 4) * (width, height, width, height)
        image = image.resize((width, height), box=(left, top, width - right, height - bottom))
    elif change == "brightness":
        factor = 1 + rng.choice((-1, 1)) * rng.uniform(0.01, 0.03)
        image = ImageEnhance.Brightness(image).enhance(factor)
    return _encode(image, quality=int(rng.choice((75, 82, 96))))


def _draw_segmented(number: int, seed: int, size_range: tuple[int, int]) -> tuple[bytes, bytes]:
    rng = stream(seed, "phantom isic2016", number)
    width = int(rng.integers(*size_range, endpoint=True))
    lesion = sample_lesion(rng, malignant=rng.random() < MALIGNANT_SHARE_2016)
    image, mask = draw_lesion(lesion, sample_view(rng), (round(0.75 * width), width))
    return _encode(Image.fromarray(image)), _encode(Image.fromarray(mask).convert("L"), "PNG")


def _encode(image: Image.Image, kind: str = "JPEG", quality: int = QUALITY) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def _map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Apply a function in this process, or in spawned ones; results keep their order."""
    if workers <= 1:
        yield from map(function, items)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_end_with_parent) as pool:
        try:
            yield from pool.map(function, items, chunksize=16)
        except BrokenProcessPool as error:
            raise MeddiffError(
                "the processes that draw the phantom died: start them from a script guarded by "
                'if __name__ == "__main__":, free some memory, or use workers=1'
            ) from error


def _end_with_parent() -> None:
    """Let this process end when its parent has been killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _zip(path: str | Path) -> Iterator[zipfile.ZipFile]:
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        yield archive


def stored_member(name: str) -> zipfile.ZipInfo:
    """Return the header of an uncompressed member, with fixed time and permissions."""
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = 0o644 << 16
    return member


@contextmanager
def _timed(count: int, path: str | Path) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    logger.info("drew %d images into %s (%.0f images/s)", count, path, count / seconds)
