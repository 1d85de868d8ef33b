"""Train SkinLesNet on one arm's images and let it classify the real test images."""

from meddiff.arrays import load_images
from meddiff.cas.experiment import build_arm, run_arm
from meddiff.cas.settings import Cas
from meddiff.data.labelled import balanced
from meddiff.files import write_csv
from meddiff.jobs import job
from meddiff.randomness import stream_seed

params, wildcards = snakemake.params, snakemake.wildcards
with job(snakemake) as device:
    sets = {
        name: [load_images(path) for path in snakemake.input[name]]
        for name in ("real", "synthetic", "validation", "test")
    }
    told = run_arm(
        build_arm(wildcards.arm, sets["real"], sets["synthetic"]),
        balanced(sets["validation"]),
        balanced(sets["test"]),
        params.classes,
        Cas.model_validate(params.settings),
        seed=stream_seed(params.seed, "cas", wildcards.repetition),
        device=device,
    )
    write_csv(told, snakemake.output[0])
