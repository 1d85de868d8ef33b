"""Compute one extractor's FID of every image set and class against real images."""

from pathlib import Path

from meddiff.arrays import load_by_class
from meddiff.files import write_csv
from meddiff.jobs import job
from meddiff.metrics.rows import fid_rows

NAMES = {"synthetic": "synthetic", "noise": "noise", "train": "real"}

files, classes = snakemake.input, snakemake.params.classes
with job(snakemake):
    sets = {Path(path).parent.name for path in files.scored}
    scored = {
        NAMES[name]: load_by_class(
            [p for p in files.scored if Path(p).parent.name == name], classes
        )
        for name in sorted(sets)
    }
    reference = load_by_class(files.reference, classes)
    write_csv(fid_rows(snakemake.wildcards.extractor, reference, scored), snakemake.output[0])
