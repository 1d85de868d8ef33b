"""Write the table of section 5.1, and its numbers as metrics.

Real images are changed at random as those that the DDPM learnt from, like the study's.
"""

from meddiff.core.arrays import load_images
from meddiff.core.randomness import stream
from meddiff.core.tables import write_metrics, write_table
from meddiff.diffusion.augmentation import augment_once, resolve_augmentation
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.evaluation.section_5_1 import section_5_1
from meddiff.extractors.extractor import read_extractor
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    extractor = read_extractor(files.weights)
    synthetic = load_images(files.synthetic)
    augmentation = resolve_augmentation(
        DiffusionSettings.model_validate(params.settings).augmentation
    )
    real = {
        name: augment_once(load_images(files[name]), augmentation, params.seed, "section 5.1", name)
        for name in ("validation", "training")
    }
    order = stream(params.seed, "section 5.1", "real").permutation(len(real["training"]))
    sets = {"synthetic": synthetic, "real": real["training"][order[: len(synthetic)]]}
    reference = extractor.features(real["validation"], device=device)
    features = {name: extractor.features(images, device=device) for name, images in sets.items()}
    published = {(p["row"]["image_set"], p["row"]["metric"]): p["values"] for p in params.published}
    table = section_5_1(
        reference,
        features,
        synthetic,
        params.metrics,
        published,
        extractor.name,
        extractor.weights,
        seed=params.seed,
    )
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
