"""Compute one extractor's FID and KID of every image set and class against real images."""

from pathlib import Path

from meddiff.core.arrays import load_by_class
from meddiff.core.checkpoints import load_metadata
from meddiff.core.files import write_csv
from meddiff.evaluation.distances import distance_rows
from meddiff.extractors.names import METRICS_OF
from meddiff.metrics.frechet import warn_if_few
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    sets = {Path(path).parent.name for path in files.scored}
    scored = {
        name if name in ("synthetic", "noise") else "real": load_by_class(
            [p for p in files.scored if Path(p).parent.name == name], params.classes
        )
        for name in sorted(sets)
    }
    reference = load_by_class(files.reference, params.classes)
    few = min(len(x) for x in [*reference.values(), *scored.get("synthetic", {}).values()])
    warn_if_few(few, next(iter(reference.values())).shape[1])
    rows = distance_rows(
        snakemake.wildcards.extractor,
        reference,
        scored,
        metrics=METRICS_OF.get(snakemake.wildcards.extractor, ()),
        n_resamples=params.n_resamples,
        seed=params.seed,
    )
    rows["weights"] = load_metadata(files.checkpoint).get("weights", "")
    write_csv(rows, snakemake.output[0])
