"""Does `meddiff evaluate --train` say what is wrong with images, and how long does it take?

    python benchmarks/planted.py --each 100                 # five kinds of synthetic images
    python benchmarks/planted.py --each 500 --kinds real    # 2 x 1,000 images, timed

REAL are naevi and keratoses of ISIC 2018 (../shared/real), one image per lesion, reduced to 64 px.
SYNTHETIC are others of them as they are (real), blurred, with labels exchanged, or noise of their
number, or REAL's own, mirrored and encoded anew (copies). The command runs as a user runs it.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

SHARED = Path(__file__).resolve().parents[2] / "shared/real"
CLASSES = {"nv": "naevus", "bkl": "keratosis", "akiec": "keratosis", "bcc": "keratosis"}
OTHER = {"naevus": "keratosis", "keratosis": "naevus"}
SIDE = 64
KINDS = ("real", "blurred", "exchanged", "copies", "noise")


def photographs(each: int) -> dict[str, list[Image.Image]]:
    """Return twice `each` images of every class."""
    with (SHARED / "ham10000/metadata.csv").open() as file:
        labels = {row["image_id"]: CLASSES.get(row["dx"]) for row in csv.DictReader(file)}
    chosen: dict[str, list[Image.Image]] = {name: [] for name in OTHER}
    with zipfile.ZipFile(SHARED / "kaggle/2018.zip") as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".jpg")}
        for name in np.random.default_rng(0).permutation(sorted(members)):
            label = labels.get(str(name))
            if label and len(chosen[label]) < 2 * each:
                image = Image.open(io.BytesIO(archive.read(members[name]))).convert("RGB")
                chosen[label].append(image.resize((SIDE, SIDE)))
    return chosen


def planted(kind: str, own: Image.Image, other: Image.Image, seed: int) -> Image.Image:
    """Return a synthetic image of this kind."""
    if kind == "blurred":
        return other.filter(ImageFilter.GaussianBlur(2))
    if kind == "copies":
        return ImageOps.mirror(own)
    if kind == "noise":
        levels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        return Image.fromarray(levels)
    return other


def write(folder: Path, kind: str, images: dict[str, list[Image.Image]], each: int) -> None:
    """Write one set, a folder per class."""
    for label, chosen in images.items():
        place = folder / (OTHER[label] if kind == "exchanged" else label)
        place.mkdir(parents=True)
        for number, (own, other) in enumerate(zip(chosen[:each], chosen[each:], strict=True)):
            if kind == "REAL":
                own.save(place / f"{number}.png")
            else:
                options = {"format": "JPEG", "quality": 90} if kind == "copies" else {}
                planted(kind, own, other, number).save(place / f"s{number}.png", **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=100, help="images of a class in each set")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options, rest = parser.parse_known_args()
    images = photographs(options.each)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "REAL", "REAL", images, options.each)
        for kind in options.kinds:
            write(folder / kind, kind, images, options.each)
            command = [sys.executable, "-m", "meddiff.cli", "evaluate", str(folder / "REAL"),
                       str(folder / kind), "--train", *rest]  # fmt: skip
            start, before = time.perf_counter(), os.times()
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            wall, after = time.perf_counter() - start, os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])
            print(f"== {kind}: {wall:.0f} s, {cpu:.0f} s of CPU\n{output.split(chr(10) * 2)[0]}\n",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
