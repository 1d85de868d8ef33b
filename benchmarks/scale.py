"""Time index, duplicates, split and packing of as many images as the study's three editions have.

    python benchmarks/scale.py --images ../shared/real/kaggle/2018.zip --folder FOLDER

The images are real ones at 224 px under new ids: each in the 8 orientations of a square, which
count as 8 photographs (turned and flipped images are no duplicates), and of every eighth of these a
copy, cropped by 1 px on each side, brightened and encoded anew: about as many as ISIC 2019 has of
2018. So every copy is in the plan; what the search detects of them, and besides them, is counted.

Every stage runs in a process of its own and writes a row to FOLDER/times.csv: seconds by the clock
and of the processor, and the largest resident memory. What stands there is not run again; a row is
removed by hand. Duplicates are searched among the first 7,500, 15,000, 30,000 and all images of a
random order. FOLDER takes about 2 GB.
"""

import argparse
import io
import logging
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from PIL import Image

from meddiff.core.progress import Progress
from meddiff.data.duplicates.search import search_index
from meddiff.data.index import build_index, read_index
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.preprocessing.packing import pack_images
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.folder import read_folder
from meddiff.data.splitting.split import split_leak_free, undersample

TURNS = (None, *Image.Transpose)
CLASSES = ("benign", "malignant")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SIZES = (7_500, 15_000, 30_000)
WORKERS = 2


def main() -> None:
    """Run the stages that have no row yet, and print the table."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.stage:
        start = perf_counter()
        findings = STAGES[options.stage.split("-")[0]](options)
        append(options, perf_counter() - start, findings)
        return
    sizes = [*(n for n in SIZES if n < options.count), options.count]
    stages = ["make", "index", *(f"duplicates-{n}" for n in sizes)]
    for stage in [*stages, "split", "pack"]:
        if stage not in times(options.folder)["stage"].to_list():
            subprocess.run([sys.executable, *sys.argv, "--stage", stage], check=True)
    print(times(options.folder).to_markdown(index=False))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="a zip of JPEGs, 224 px")
    parser.add_argument("--folder", type=Path, required=True, help="where files are written")
    parser.add_argument("--count", type=int, default=67_439)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    return parser.parse_args()


def times(folder: Path) -> pd.DataFrame:
    """Read the rows of finished stages."""
    path = folder / "times.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame({"stage": []})


def append(options: argparse.Namespace, seconds: float, findings: str) -> None:
    """Write a row: memory is the process's own peak, imports included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    row = {
        "stage": options.stage,
        "seconds": round(seconds, 1),
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak GB": round(usage.ru_maxrss / 2**20, 2),
        "result": findings,
    }
    table = pd.concat([times(options.folder), pd.DataFrame([row])])
    table.to_csv(options.folder / "times.csv", index=False)


def make(options: argparse.Namespace) -> str:
    """Write images.zip and images.csv, in a random order: id, label and photograph."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(options.images) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
    rows, copies = [], 0
    plan = planned(len(names), options.count)
    partial = options.folder / "images.zip.part"
    with (
        zipfile.ZipFile(options.images) as archive,
        zipfile.ZipFile(partial, "w") as out,
        Progress(len(plan), "make", unit="image") as progress,
    ):
        for number, (photograph, turn, copied) in enumerate(plan):
            image = Image.open(archive.open(names[photograph])).convert("RGB")
            image = image if TURNS[turn] is None else image.transpose(TURNS[turn])
            name = f"SCALE_{number:07}"
            out.writestr(f"{name}.jpg", encoded(edited(image) if copied else image, copied))
            label = CLASSES[photograph % 11 == 0]
            rows.append({"id": name, "label": label, "photograph": photograph * 8 + turn})
            copies += copied
            progress.advance(1)
    partial.rename(options.folder / "images.zip")
    pd.DataFrame(rows).to_csv(options.folder / "images.csv", index=False)
    return f"{copies} copies"


def planned(photographs: int, count: int) -> list[tuple[int, int, bool]]:
    """Return photograph, turn and whether it is a copy; a copy follows its original."""
    units = np.random.default_rng(0).permutation(photographs * 8)
    plan: list[tuple[int, int, bool]] = []
    for place, unit in enumerate(units.tolist()):
        plan.append((unit // 8, unit % 8, False))
        if place % 8 == 0:
            plan.append((unit // 8, unit % 8, True))
    return plan[:count]


def edited(image: Image.Image) -> Image.Image:
    """Return it without its outermost pixels, a little brighter, at its old size."""
    width, height = image.size
    inner = image.crop((1, 1, width - 1, height - 1)).resize(image.size)
    return inner.point([min(255, round(4 + 1.03 * level)) for level in range(256)] * 3)


def encoded(image: Image.Image, copied: bool) -> bytes:
    """Return a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75 if copied else 92)
    return file.getvalue()


def index(options: argparse.Namespace) -> str:
    """Write index.csv."""
    folder = options.folder
    settings = FolderSettings(images=str(folder / "images.zip"), table=str(folder / "images.csv"))
    records = read_folder(settings, CLASSES)
    with Progress(len(records), "index", unit="image") as progress:
        table = build_index(records, workers=WORKERS, progress=progress.advance)
    table.to_csv(folder / "index.csv", index=False)
    return ""


def duplicates(options: argparse.Namespace) -> str:
    """Search the first images, and compare the pairs with the plan."""
    n = int(options.stage.split("-")[1])
    table = read_index(options.folder / "index.csv").sort_values("id").iloc[:n]
    duplicates = search_index(table, workers=WORKERS)
    if n == options.count:
        table.join(duplicates.images).to_csv(options.folder / "grouped.csv", index=False)
    truth = pd.read_csv(options.folder / "images.csv").set_index("id")["photograph"]
    first, second = (truth.loc[duplicates.links[end]].to_numpy() for end in ("first", "second"))
    same = first == second
    planted = n - truth.loc[table["id"]].nunique()
    return f"{same.sum()} of {planted} copies, {(~same).sum()} others"


def split(options: argparse.Namespace) -> str:
    """Split by group, as `leak_free` does, and undersample."""
    table = read_index(options.folder / "grouped.csv")
    table["split"] = split_leak_free(table, fractions=SHARES, seed=0)
    table = undersample(table, 0, {})
    table.to_csv(options.folder / "split.csv", index=False)
    return f"{table['selected'].sum()} images selected"


def pack(options: argparse.Namespace) -> str:
    """Pack all images at 64 px, whether selected or not."""
    table = read_index(options.folder / "split.csv")
    how = Preprocessing(crop=None, size=64)
    with Progress(len(table), "pack", unit="image") as progress:
        out = options.folder / "images.npy", options.folder / "packed.csv"
        pack_images(table, how, *out, workers=WORKERS, progress=progress.advance)
    return ""


Stage = Callable[[argparse.Namespace], str]
STAGES: dict[str, Stage] = {
    stage.__name__: stage for stage in (make, index, duplicates, split, pack)
}


if __name__ == "__main__":
    main()
