"""List every lesion image with label, patient and digests, and find duplicates."""

from pathlib import Path

from meddiff.data.index import build_index, find_duplicates, write_table
from meddiff.data.settings import Folder
from meddiff.data.sources import read_folder, read_kaggle, warn_of_strangers
from meddiff.files import atomic_write
from meddiff.jobs import job
from meddiff.progress import Progress

params = snakemake.params
with job(snakemake):
    if params.editions is None:
        # Where the folder lies is no parameter of the rule: what is in it is.
        folder = Folder.model_validate(snakemake.config["data"]["folder"])
        paths = folder.paths(Path(snakemake.scriptdir) / "../..")
        records = read_folder(
            paths["images"],
            paths["table"],
            masks=paths.get("masks"),
            classes=params.classes,
            **folder.model_dump(exclude={"name", "images", "table", "masks"}),
        )
    else:
        archives = dict(zip(params.editions, snakemake.input, strict=True))
        records = read_kaggle(archives)
    warn_of_strangers(records)
    with Progress(len(records), "index lesions", unit="image") as progress:
        index = build_index(records, workers=snakemake.threads, progress=progress.advance)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(index.join(find_duplicates(index)), temporary)
