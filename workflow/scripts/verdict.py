"""Write whether synthetic images replace, complement or harm real ones, as table, text and page."""

from meddiff.cas.scoring import TEST
from meddiff.cas.tables import count_shared, read_runs, score_arms
from meddiff.cas.verdict import Evidence, verdict_table
from meddiff.cas.verdict_text import verdict_text
from meddiff.core.files import write_text
from meddiff.core.tables import read_csv, write_table
from meddiff.evaluation.rows import copies_by_class
from meddiff.reporting.pages import page
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    predictions = read_runs(files.predictions)
    test = predictions[predictions["set"] == TEST].drop_duplicates("id")
    copies = copies_by_class(read_csv(files.copies)) if files.copies else {}
    scored = score_arms(
        predictions,
        params.classes,
        specificity=params.specificity,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    evidence = Evidence(
        stamp=params.stamp,
        margin=params.margin,
        test_images=test["label"].value_counts().to_dict(),
        test_groups=test["group"].nunique(),
        imported=params.imported,
        shared=count_shared(test["group"], files.learnt_rows),
        doses=read_csv(files.doses),
        copies=copies,
    )
    table = verdict_table(scored, evidence)
    text = verdict_text(table, scored, evidence)
    write_table(table, snakemake.output.table, params.stamp)
    write_text(text, snakemake.output.text)
    write_text(page(text), snakemake.output.page)
