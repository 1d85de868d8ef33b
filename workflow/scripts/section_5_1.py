"""Write the table of section 5.1, and its numbers as metrics.

Real images are changed at random as those that the DDPM learnt from, like the study's.
"""

from meddiff.arrays import load_images
from meddiff.checkpoints import load_checkpoint
from meddiff.diffusion.augmentation import augment_once, resolve_augmentation
from meddiff.diffusion.settings import Diffusion
from meddiff.extractors.radimagenet import build_radimagenet, radimagenet_features
from meddiff.jobs import job
from meddiff.metrics.section_5_1 import section_5_1
from meddiff.randomness import stream
from meddiff.tables import write_metrics, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    weights, about = load_checkpoint(files.weights)
    network = build_radimagenet(weights or None)
    synthetic = load_images(files.synthetic)
    augmentation = resolve_augmentation(Diffusion.model_validate(params.settings).augmentation)
    real = {
        name: augment_once(load_images(files[name]), augmentation, params.seed, "section 5.1", name)
        for name in ("validation", "training")
    }
    order = stream(params.seed, "section 5.1", "real").permutation(len(real["training"]))
    sets = {"synthetic": synthetic, "real": real["training"][order[: len(synthetic)]]}
    reference = radimagenet_features(network, real["validation"], device=device)
    features = {
        name: radimagenet_features(network, images, device=device) for name, images in sets.items()
    }
    extractor = "radimagenet" if weights else "resnet50-random"
    windows = params.windows
    table = section_5_1(reference, features, synthetic, windows, extractor, about["weights"])
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
