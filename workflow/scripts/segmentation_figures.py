"""Show images outlined by their masks, and test images outlined by the U-Net, too."""

from pathlib import Path

from meddiff.core.arrays import load_images
from meddiff.extractors.extractor import read_extractor
from meddiff.extractors.segmentation import THRESHOLD, lesion_maps, map_scores
from meddiff.reporting.figures.curves import save_figure
from meddiff.reporting.figures.grids import contact_sheet, outline, save_picture, titled_sheets
from meddiff.reporting.figures.segmentation import segmentation_examples
from meddiff.workflow.jobs import job

files = snakemake.input
with job(snakemake) as device:
    sheets = {}
    for arrays in zip(files.images, files.masks, strict=True):
        images, masks = map(load_images, arrays)
        title = f"{Path(arrays[0]).parent.name}, outlined by the mask"
        sheets[title] = contact_sheet(outline(images[:36], masks[:36]), side=96, columns=12)
    save_picture(titled_sheets(sheets), snakemake.output.masks)
    # The test set is the last one.
    maps = lesion_maps(read_extractor(files.checkpoint).network, images, device=device)
    predicted = maps[:, 0].numpy() >= THRESHOLD
    figure = segmentation_examples(images, masks[..., 0] > 127, predicted, map_scores(maps, masks))
    save_figure(figure, snakemake.output.examples)
