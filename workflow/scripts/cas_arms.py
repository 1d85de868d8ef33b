"""Train a classifier on every arm and let it classify held-out real images."""

from meddiff.cas.classifiers import build_classifier
from meddiff.cas.experiment import run_arms
from meddiff.cas.images import load_held_out, load_pool
from meddiff.cas.settings import CasSettings
from meddiff.core.checkpoints import load_checkpoint
from meddiff.core.files import write_csv
from meddiff.core.settings import ComputeSettings
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    settings = CasSettings.model_validate(params.settings)
    pool = load_pool(
        files.real,
        files.real_rows,
        files.synthetic,
        augmented="augmented" in settings.arms,
        seed=params.seed,
    )
    classifier = build_classifier(
        snakemake.wildcards.classifier,
        len(params.classes),
        pool.images.shape[1],
        settings,
        imagenet=load_checkpoint(files.weights)[0] if files.weights else None,
        # Of the configuration, as for nets: `--cores 1` would fit one SVM at a time.
        threads=ComputeSettings.model_validate(snakemake.config.get("compute", {})).threads,
        device=device,
    )
    chosen = settings.model_copy(update={"arms": params.get("trained", settings.arms)})
    predictions = run_arms(
        classifier,
        # As for all arms: a frozen net's features depend on an image's place.
        pool,
        {
            "test": load_held_out(files.test, files.test_rows),
            "validation": load_held_out(files.validation, files.validation_rows),
        },
        params.classes,
        chosen,
        equal_steps=params.equal_steps,
        repetitions=params.repetitions,
        seed=params.seed,
    )
    predictions.insert(0, "classifier", snakemake.wildcards.classifier)
    write_csv(predictions, snakemake.output[0])
