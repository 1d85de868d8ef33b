"""Time the preparation of image sets against torchvision's ImageFolder in a DataLoader.

    python benchmarks/preprocessing.py --images FOLDER --size 64 --workers 2
    python benchmarks/preprocessing.py --memory 13400 26800

The first form takes any folder of JPEGs and measures three times: its images as they are, some of
them enlarged four times (which gives 12 to 24 megapixels from dermoscopes' usual ones, as most of
ISIC 2020), and their squares at 224 px (all JPEG, quality 90). Each set is repeated to its count of
files. Every repeat runs all contenders in turn, so that a busy machine slows all alike; ratios are
medians of the repeats' own.

The peer is ImageFolder, Resize with anti-aliasing, CenterCrop and PILToTensor in a DataLoader with
`--workers` processes that persist, its batches of 64 collected into one uint8 array; `tuned` turns
images upright and crops before it resizes, which gives the pixels of ours. Ours is the whole of
`pack_images` with as many threads: it also compares each file's SHA-256 and writes array and table
to the disk. One untimed run each starts the workers and loads the libraries. Files are warm in the
page cache. Differences are in grey levels, over each image of the set.

The second form packs these numbers of generated 224-px JPEGs of one zip at 224 px, each number in a
process of its own, and prints its peak memory. It needs 160 kB of disk per image in the temporary
folder.
"""

import argparse
import hashlib
import io
import multiprocessing
import os
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize
from torchvision.transforms.functional import center_crop

from meddiff.data.preprocessing.files import Preprocessing, preprocess_files
from meddiff.data.preprocessing.packing import pack_images

PEER, TUNED, EXACT, FAST = "ImageFolder", "tuned", "exact", "fast"
SMALL = 224
BATCH = 64
SEED_IMAGES = 200
Contender = Callable[[], object]
Change = Callable[[Image.Image], Image.Image]


def upright(image: Image.Image) -> Image.Image:
    # In place: the copy that Pillow makes otherwise would only slow the peer.
    ImageOps.exif_transpose(image, in_place=True)
    return image


def centre_square(image: Image.Image) -> Image.Image:
    return center_crop(image, min(image.size))


def usual_transforms(size: int) -> Compose:
    return Compose([Resize(size), CenterCrop(size), PILToTensor()])


def tuned_transforms(size: int) -> Compose:
    return Compose([upright, centre_square, Resize([size, size]), PILToTensor()])


def repeat_files(sources: list[Path], folder: Path, count: int) -> Path:
    """Link `count` files of one class in the layout that ImageFolder reads."""
    target = folder / "any"
    target.mkdir(parents=True)
    for number in range(count):
        source = sources[number % len(sources)].resolve()
        (target / f"{number:06}.jpg").symlink_to(source)
    return folder


def write_jpegs(sources: list[Path], folder: Path, change: Change) -> list[Path]:
    """Write images at quality 90 after a change."""
    folder.mkdir()
    for source in sources:
        with Image.open(source) as image:
            change(upright(image.convert("RGB"))).save(folder / f"{source.stem}.jpg", quality=90)
    return sorted(folder.iterdir())


def enlarged(image: Image.Image) -> Image.Image:
    return image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC)


def small_square(image: Image.Image) -> Image.Image:
    return Resize([SMALL, SMALL])(centre_square(image))


def records_of(folder: Path) -> pd.DataFrame:
    """Return the columns of an index that `pack_images` reads."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    table = pd.DataFrame({"id": names, "member": names, "bytes_sha256": digests})
    return table.assign(label="any", edition="any", archive=str(folder)).astype("string")


def peer_epoch(folder: Path, size: int, workers: int, transforms: Compose) -> Contender:
    files = ImageFolder(str(folder), transforms)
    loader = DataLoader(files, BATCH, num_workers=workers, persistent_workers=True)
    pixels = np.empty((len(files), size, size, 3), np.uint8)

    def epoch() -> None:
        done = 0
        for batch, _ in loader:
            pixels[done : done + len(batch)] = batch.permute(0, 2, 3, 1).numpy()
            done += len(batch)

    return epoch


def our_pack(folder: Path, size: int, workers: int, decoding: str, out: Path) -> Contender:
    records = records_of(folder)
    how = Preprocessing(crop=None, size=size, decoding=decoding)
    files = (out / f"{decoding}.npy", out / f"{decoding}.csv")
    return lambda: pack_images(records, how, *files, workers=workers)


def differences(sources: list[Path], size: int, decoding: str) -> np.ndarray:
    """Absolute differences to the peer's pixels, uint8."""
    parts = []
    for source in sources:
        with Image.open(source) as image:
            expected = tuned_transforms(size)(image.convert("RGB")).permute(1, 2, 0).numpy()
        how = Preprocessing(crop=None, size=size, decoding=decoding)
        pixels = preprocess_files([(source.read_bytes(), source.name)], how)[0]
        parts.append(np.abs(pixels.astype(np.int16) - expected).astype(np.uint8).ravel())
    return np.concatenate(parts)


def compare(
    title: str, sources: list[Path], count: int, work: Path, options: argparse.Namespace
) -> None:
    size, workers = options.size, options.workers
    folder = repeat_files(sources, work / "repeated", count)
    contenders = {
        PEER: peer_epoch(folder, size, workers, usual_transforms(size)),
        TUNED: peer_epoch(folder, size, workers, tuned_transforms(size)),
        EXACT: our_pack(folder, size, workers, EXACT, work),
        FAST: our_pack(folder, size, workers, FAST, work),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(options.repeats):
        for name, run in contenders.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
    report(f"{title} to {size} px", times, count, sources, size)


def report(
    title: str, times: dict[str, list[float]], count: int, sources: list[Path], size: int
) -> None:
    columns = "images/s", "ratio", "least", "most", "mean", "p99.9", "max"
    print(f"\n{title}\n{'':14}" + "".join(f"{name:>10}" for name in columns))
    for name, seconds in times.items():
        ratios = [peer / ours for peer, ours in zip(times[PEER], seconds, strict=True)]
        print(f"{name:14}{count / median(seconds):10.1f}", end="")
        for ratio in (median(ratios), min(ratios), max(ratios)):
            print(f"{ratio:10.2f}", end="")
        if name in (EXACT, FAST):
            off = differences(sources, size, name)
            print(f"{off.mean():10.3f}{np.percentile(off, 99.9):10.1f}{off.max():10}", end="")
        print(flush=True)


def generated_jpegs() -> list[bytes]:
    """Draw smooth colours under a camera's noise."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(SEED_IMAGES):
        colours = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(colours.resize((SMALL, SMALL), Image.Resampling.BICUBIC))
        noisy = np.clip(smooth + 4 * rng.normal(size=smooth.shape), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def generated_zip(count: int, path: Path) -> pd.DataFrame:
    jpegs = generated_jpegs()
    names = [f"{number:06}.jpg" for number in range(count)]
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, jpegs[number % SEED_IMAGES])
    digests = [hashlib.sha256(jpeg).hexdigest() for jpeg in jpegs]
    repeated = [digests[number % SEED_IMAGES] for number in range(count)]
    table = pd.DataFrame({"id": names, "member": names, "bytes_sha256": repeated})
    return table.assign(label="any", edition="any", archive=str(path)).astype("string")


def pack_and_measure(count: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        records = generated_zip(count, work / "images.zip")
        before = peak_mib()
        how = Preprocessing(crop=None, size=SMALL)
        start = perf_counter()
        pack_images(records, how, work / "x.npy", work / "x.csv", workers=workers)
        seconds = perf_counter() - start
    print(f"{count:8}{before:12.0f}{peak_mib():12.0f}{count / seconds:12.0f}", flush=True)


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_memory(counts: list[int], workers: int) -> None:
    print(f"{'images':>8}{'start, MiB':>12}{'peak, MiB':>12}{'images/s':>12}", flush=True)
    for count in counts:
        # A process of its own, not a fork: a peak never falls again.
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=pack_and_measure, args=(count, workers))
        process.start()
        process.join()


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the preparation of images against a peer.")
    parser.add_argument("--images", type=Path, help="folder of JPEGs")
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--count", type=int, default=768, help="original files per repeat")
    parser.add_argument("--large-count", type=int, default=86, help="enlarged files per repeat")
    parser.add_argument("--small-count", type=int, default=6144, help="224-px files per repeat")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="images to pack")
    return parser.parse_args()


def main() -> None:
    options = parsed_arguments()
    torch.set_num_threads(1)
    if options.memory:
        measure_memory(options.memory, options.workers)
    if options.images:
        sources = sorted(path for path in options.images.iterdir() if path.suffix == ".jpg")
        print(f"{len(sources)} images, {options.workers} workers of each, {os.cpu_count()} cores")
        with tempfile.TemporaryDirectory() as name:
            compare("as they are", sources, options.count, Path(name, "full"), options)
            large = write_jpegs(sources[::5], Path(name, "large"), enlarged)
            compare("enlarged", large, options.large_count, Path(name, "larger"), options)
            small = write_jpegs(sources, Path(name, "small"), small_square)
            compare("224 px", small, options.small_count, Path(name, "smaller"), options)


if __name__ == "__main__":
    main()
