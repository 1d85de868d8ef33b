"""Train SkinLesNet on every dose of real and synthetic images; classify other real images."""

from meddiff.cas.classifiers import build_classifier
from meddiff.cas.experiment import run_doses
from meddiff.cas.images import load_held_out, load_pool
from meddiff.cas.settings import CasSettings
from meddiff.core.files import write_csv
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    settings = CasSettings.model_validate(params.settings)
    parts = [files.synthetic, *([files.more] if files.more else [])]
    pool = load_pool(
        files.real,
        files.real_rows,
        *parts,
        max_synthetic=params.settings["dose"].get("max_synthetic_per_class"),
    )
    predictions = run_doses(
        build_classifier(
            "skinlesnet", len(params.classes), pool.images.shape[1], settings, device=device
        ),
        pool,
        {
            "test": load_held_out(files.test, files.test_rows),
            "validation": load_held_out(files.validation, files.validation_rows),
        },
        params.classes,
        settings,
        repetitions=params.repetitions,
        seed=params.seed,
    )
    write_csv(predictions, snakemake.output[0])
