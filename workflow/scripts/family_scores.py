"""Score the images of one family of models and sampler."""

import numpy as np

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.evaluate import evaluate
from meddiff.evaluation.families import family_rows
from meddiff.extractors.extractor import read_extractor
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    sets = {}
    for key in ("training", "synthetic", "unseen"):
        of_class = load_by_class(files[key], params.classes) if files[key] else {}
        labels = [name for name, images in of_class.items() for _ in images]
        if of_class:
            sets[key] = ImageSet(np.concatenate(list(of_class.values())), labels=tuple(labels))
    result = evaluate(
        sets["training"],
        sets["synthetic"],
        {params.judge: read_extractor(files.extractor)},
        unseen=sets.get("unseen"),
        ssim_images=100,
        n_resamples=params.n_resamples,
        seed=params.seed,
        device=device,
    )
    write_table(family_rows(result), snakemake.output[0], {})
