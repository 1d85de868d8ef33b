"""How much memory and time does `meddiff evaluate` take with thousands of large files?

    python benchmarks/large_files.py --files 2048 --side 3162

Half of the files are REAL, half SYNTHETIC: TIFF of `side` x `side` pixels in colour, uncompressed,
30 MB each as above. Each is black but for a square of smooth colours, of another place and shade;
the rest are holes, so that they take some 1 MB of the disk and are read in full all the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

PATCH = 500
"""Pixels along a square."""


def write(path: Path, side: int, seed: int) -> None:
    """Write one image."""
    rng = np.random.default_rng(seed)
    image = tifffile.memmap(path, shape=(side, side, 3), dtype=np.uint8, photometric="rgb")
    top, left = rng.integers(0, side - PATCH, 2)
    across, down = np.meshgrid(*[np.linspace(0, 1, PATCH)] * 2)
    amounts = rng.uniform(0.2, 1, (3, 3))
    waves = np.stack([np.ones_like(across), np.sin(9 * across), np.cos(7 * down)], -1) @ amounts
    image[top : top + PATCH, left : left + PATCH] = np.clip(120 + 60 * waves, 0, 255)
    image.flush()


def main() -> None:
    """Write the files, run the command, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2048)
    parser.add_argument("--side", type=int, default=3162)
    parser.add_argument("--extractor", default="efficientnet_lite0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, each) for each in ("real", "synthetic")]
        for number in range(options.files):
            folder = folders[number % 2]
            folder.mkdir(exist_ok=True)
            write(folder / f"{number:05}.tif", options.side, number)
        size = (folders[0] / "00000.tif").stat().st_size / 1e6
        start = time.perf_counter()
        command = [sys.executable, "-m", "meddiff.cli", "evaluate", *folders]
        process = subprocess.Popen([*command, "--extractor", options.extractor])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"{command} failed")
    print(
        f"{options.files} files of {size:.0f} MB: {usage.ru_maxrss / 1e6:.2f} GB, {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
