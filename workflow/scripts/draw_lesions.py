"""Draw phantom lesions and write them as Kaggle delivers the study's three editions."""

from pathlib import Path

from meddiff.data.phantom.archives import write_kaggle_edition
from meddiff.data.phantom.plan import plan_editions
from meddiff.jobs import job


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
    for path in snakemake.output:
        rows = plan[plan["edition"] == Path(path).stem]
        write_kaggle_edition(path, rows, workers=snakemake.threads)


if __name__ == "__main__":
    with job(snakemake):
        main()
