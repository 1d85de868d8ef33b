"""Write and draw families of models and their samplers side by side."""

from meddiff.core.arrays import load_images
from meddiff.core.tables import write_table
from meddiff.evaluation.families import families_table
from meddiff.reporting.figures.curves import save_figure
from meddiff.reporting.figures.families import families_figure
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.workflow.jobs import job

SHOWN = 12

files, params = snakemake.input, snakemake.params
with job(snakemake):
    # Where a workflow has this one as a module, its logs have names of that workflow.
    logs = snakemake.log[0].removesuffix("families.log")
    table = families_table(
        params.drawings, files.scores, files.likelihoods, params.steps, params.trainings, logs
    )
    write_table(table, snakemake.output.table, params.stamp)
    save_figure(families_figure(table), snakemake.output.figure)
    titles = [f"{drawing}: {c}" for drawing in params.drawings for c in params.classes]
    paths = dict(zip([*(f"real: {c}" for c in params.classes), *titles],
                     [*files.real, *files.images], strict=True))  # fmt: skip
    sheets = {title: contact_sheet(load_images(path)[:SHOWN]) for title, path in paths.items()}
    save_picture(titled_sheets(sheets), snakemake.output.samples)
