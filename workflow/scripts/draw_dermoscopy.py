"""Draw phantom lesions as Kaggle delivers the study's editions, and the ISIC challenge's tables."""

from meddiff.data.phantom.archives import write_kaggle_edition
from meddiff.data.phantom.challenge import write_challenge_tables
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.registry import by_version
from meddiff.workflow.jobs import job


def main() -> None:
    """Draw every edition; the guard below is for the worker processes, which import this file."""
    params = snakemake.params
    settings = params.editions
    plan = plan_editions(
        params.seed,
        settings["editions"],
        settings["exact_duplicates"],
        settings["near_duplicates"],
    )
    for edition, files in by_version(snakemake.output).items():
        rows = plan[plan["edition"] == edition]
        write_kaggle_edition(files["images"], rows, workers=snakemake.threads)
        write_challenge_tables(edition, files, rows)


if __name__ == "__main__":
    with job(snakemake):
        main()
