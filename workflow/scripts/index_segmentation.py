"""List the images with masks that the U-Net learns from."""

from meddiff.core.files import write_csv
from meddiff.data.index import build_index, read_index
from meddiff.data.registry import by_version
from meddiff.data.sources.isic2016 import read_isic2016
from meddiff.data.splitting.segmentation import masked_rows, without_test_images
from meddiff.workflow.jobs import job

archives, split = snakemake.input.archives, snakemake.input.split
with job(snakemake):
    images = read_index(split) if split else None
    if snakemake.params.from_split:
        index = masked_rows(images)
    else:
        [files] = by_version(archives).values()
        index = build_index(read_isic2016(**files), workers=snakemake.threads)
        if images is not None:
            index = without_test_images(index, images)
    write_csv(index, snakemake.output[0])
