"""List the images with masks that the U-Net learns from."""

from meddiff.core.files import atomic_write
from meddiff.data.index import build_index, read_table, write_table
from meddiff.data.registry import by_version
from meddiff.data.segmentation import masked_rows, without_test_lesions
from meddiff.data.sources import read_isic2016
from meddiff.workflow.jobs import job

archives, split = snakemake.input.archives, snakemake.input.split
with job(snakemake):
    lesions = read_table(split) if split else None
    if snakemake.params.from_split:
        index = masked_rows(lesions)
    else:
        [files] = by_version(archives).values()
        index = build_index(read_isic2016(**files), workers=snakemake.threads)
        if lesions is not None:
            index = without_test_lesions(index, lesions)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(index, temporary)
