"""Write the table of section 5.1, and its numbers as metrics."""

from meddiff.arrays import load_images
from meddiff.checkpoints import load_checkpoint
from meddiff.extractors.radimagenet import build_radimagenet, radimagenet_features
from meddiff.jobs import job
from meddiff.metrics.section_5_1 import section_5_1
from meddiff.tables import write_metrics, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    weights, about = load_checkpoint(files.weights)
    network = build_radimagenet(weights or None)
    sets = [load_images(path) for path in (files.validation, files.synthetic)]
    features = [radimagenet_features(network, images, device=device) for images in sets]
    extractor = "radimagenet" if weights else "resnet50-random"
    table = section_5_1(*features, sets[1], params.windows, extractor, about["weights"])
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
