"""Show test images with the true outline and the one that the U-Net finds."""

from meddiff.core.arrays import load_images
from meddiff.extractors.extractor import read_extractor
from meddiff.extractors.segmentation import THRESHOLD, lesion_maps, map_scores
from meddiff.reporting.figures.curves import save_figure
from meddiff.reporting.figures.segmentation import segmentation_examples
from meddiff.workflow.jobs import job

files = snakemake.input
with job(snakemake) as device:
    images, masks = load_images(files.images), load_images(files.masks)
    maps = lesion_maps(read_extractor(files.checkpoint).network, images, device=device)
    predicted = maps[:, 0].numpy() >= THRESHOLD
    figure = segmentation_examples(images, masks[..., 0] > 127, predicted, map_scores(maps, masks))
    save_figure(figure, snakemake.output[0])
