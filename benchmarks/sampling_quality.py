"""How soon is a sampler as good as 1000-step ancestral sampling? FID against time, on one DDPM.

    python benchmarks/sampling_quality.py --run . --class benign --images 960

`--run` is a run directory that holds a DDPM, an extractor and real images, e.g. after `make demo`.
Every sampler draws the same number of images with the same arithmetic; FID is taken against the
class's real training images, with its standard error. The first row is what real test
images score against them. Times are of one thread count and one machine; `speed-up` is the time of
ancestral sampling by that of each. FIDs depend on the number of images: compare rows of one run.
"""

import argparse
import logging
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from meddiff.core.arrays import load_images
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.extractors.extractor import read_extractor
from meddiff.metrics import fid_interval, kid_interval
from meddiff.reporting.figures.grids import save_picture, stages

CONTENDERS = [
    ("ddpm", 1000, "even"),
    ("ddpm", 48, "even"),
    ("ddim", 48, "even"),
    ("ddim", 48, "quadratic"),
    ("dpm_solver", 24, "quadratic"),
    *[("sde_dpm_solver", steps, "even") for steps in (24, 48)],
    *[("sde_dpm_solver", steps, "quadratic") for steps in (12, 16, 20, 25, 32, 48)],
]


def main() -> None:
    parser = argparse.ArgumentParser(description="FID against time for every sampler.")
    parser.add_argument("--run", type=Path, default=Path(), help="run directory")
    parser.add_argument("--class", dest="name", default="benign")
    parser.add_argument("--extractor", default="resnet50")
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--compiled", action="store_true", help="compile the net first")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="PNG with the first images of each sampler")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Fewer images than dimensions would be noted in every row.
    logging.disable(logging.WARNING)
    run, name = options.run, options.name
    model = load_ddpm(run / f"models/ddpm/{name}.safetensors", compiled=options.compiled)
    extractor = read_extractor(run / f"models/{options.extractor}.safetensors")
    real, unseen = (
        extractor.features(load_images(run / f"data/images/{split}/{name}.npy"))
        for split in ("train", "test")
    )
    arithmetic = options.precision + (", compiled" if options.compiled else "")
    print(
        f"{options.images} images of {name} against {len(real)} real ones, {extractor.name} "
        f"features ({real.shape[1]}-d), {arithmetic}"
    )
    print(f"{'':26}{'steps':>6}{'seconds':>9}{'speed-up':>10}{'FID':>9}{'KID':>18}")
    print(f"{f'real ({len(unseen)})':51}{_scores(unseen, real)}")
    rows, slowest = [], 0.0
    for sampler, steps, spacing in CONTENDERS:
        wanted = SamplerSettings.model_validate(
            {"sampler": sampler, "steps": steps, "spacing": spacing}
            | {"precision": options.precision}
        )
        # The first block compiles.
        sample_images(model, wanted.model_copy(update={"steps": 2}), range(1), seed=0, name=name)
        start = perf_counter()
        images = sample_images(model, wanted, range(options.images), seed=0, name=name)
        taken = perf_counter() - start
        slowest = slowest or taken
        print(
            f"{sampler:15} {spacing:10}{steps:6}{taken:9.1f}{slowest / taken:10.1f}"
            f"{_scores(extractor.features(images), real)}",
            flush=True,
        )
        rows.append(images[:10])
    if options.picture:
        save_picture(stages(np.stack(rows)), options.picture)


def _scores(features: np.ndarray, real: np.ndarray) -> str:
    fid, kid = fid_interval(features, real, n_resamples=200), kid_interval(features, real)
    return f"{fid.value:9.4f} ±{fid.error:6.4f}{kid.value:10.5f} ±{kid.error:7.5f}"


if __name__ == "__main__":
    main()
