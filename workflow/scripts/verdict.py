"""Write whether synthetic images replace, complement or harm real ones, as a table."""

from meddiff.cas.scoring import TEST
from meddiff.cas.tables import count_shared, read_runs, score_arms
from meddiff.cas.verdict import Evidence, verdict_table
from meddiff.core.tables import write_table
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    predictions = read_runs(files.predictions)
    test = predictions[predictions["set"] == TEST].drop_duplicates("id")
    scored = score_arms(
        predictions,
        params.classes,
        specificity=params.specificity,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    evidence = Evidence(
        margin=params.margin,
        test_images=test["label"].value_counts().to_dict(),
        test_groups=test["group"].nunique(),
        imported=params.imported,
        shared=count_shared(test["group"], files.learnt_rows),
    )
    write_table(verdict_table(scored, evidence), snakemake.output.table, params.stamp)
