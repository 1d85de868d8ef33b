"""Draw phantom lesions with masks and write them as the ISIC archive delivers 2016 Part 1."""

from meddiff.data.phantom.archives import write_isic2016
from meddiff.workflow.jobs import job

# The worker processes import this file.
if __name__ == "__main__":
    with job(snakemake):
        write_isic2016(
            **dict(snakemake.output.items()),
            seed=snakemake.params.seed,
            n_train=snakemake.params.counts["segmentation_train"],
            n_test=snakemake.params.counts["segmentation_test"],
            workers=snakemake.threads,
        )
