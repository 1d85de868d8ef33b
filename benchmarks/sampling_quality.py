"""How soon is a sampler as good as 1000-step ancestral sampling? FID against time, on one DDPM.

    python benchmarks/sampling_quality.py --run . --class benign --images 256

`--run` is a run directory that holds a DDPM, an extractor and real images, e.g. after `make demo`.
Every sampler draws the same numbers of images from the same noise; FID is taken against the class's
real training images, with its standard deviation over bootstrap samples of the drawn images. Times
are of one thread count and one machine; `speed-up` is the time of the first row by that of each.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from meddiff.arrays import load_images
from meddiff.diffusion.sampling import load_ddpm, sample_images
from meddiff.diffusion.settings import Sampler
from meddiff.extractors.extractor import load_extractor
from meddiff.figures.grids import save_picture, stages
from meddiff.metrics import fid

CONTENDERS = [
    ("ddpm", 1000, "fp32"),
    ("ddpm", 50, "fp32"),
    ("ddim", 50, "fp32"),
    *[("dpm_solver", steps, "fp32") for steps in (10, 15, 20, 25, 30, 50)],
    ("dpm_solver", 20, "bf16"),
]
REPLICATES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="FID against time for every sampler.")
    parser.add_argument("--run", type=Path, default=Path(), help="run directory")
    parser.add_argument("--class", dest="name", default="benign")
    parser.add_argument("--extractor", default="skinlesnet")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="PNG with the first images of each sampler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run, name = options.run, options.name
    model = load_ddpm(run / f"models/ddpm/{name}.safetensors")
    extractor = load_extractor(run / f"models/{options.extractor}.safetensors")
    real = extractor.features(load_images(run / f"data/lesions/train/{name}.npy"))
    print(f"{options.images} images against {len(real)} real ones, {extractor.name} features")
    print(f"{'sampler':12}{'steps':>6}{'':>6}{'seconds':>9}{'speed-up':>10}{'FID':>9}{'':>4}sd")
    rows, slowest = [], 0.0
    for sampler, steps, precision in CONTENDERS:
        wanted = Sampler.model_validate(
            {"sampler": sampler, "steps": steps, "precision": precision}
        )
        start = perf_counter()
        images = sample_images(model, wanted, range(options.images), seed=0, name=name)
        taken = perf_counter() - start
        slowest = slowest or taken
        features = extractor.features(images)
        chance = np.random.default_rng(0)
        spread = np.std(
            [
                fid(features[chance.integers(len(features), size=len(features))], real)
                for _ in range(REPLICATES)
            ]
        )
        print(
            f"{sampler:12}{steps:6}{precision:>6}{taken:9.1f}{slowest / taken:10.1f}"
            f"{fid(features, real):9.4f} ±{spread:6.4f}",
            flush=True,
        )
        rows.append(images[:10])
    if options.picture:
        save_picture(stages(np.stack(rows)), options.picture)


if __name__ == "__main__":
    main()
