"""List every lesion image with label, patient and digests, and find duplicates."""

from meddiff.data.index import build_index, find_duplicates, write_table
from meddiff.data.sources import read_folder, read_kaggle, warn_of_strangers
from meddiff.files import atomic_write
from meddiff.jobs import job
from meddiff.progress import Progress

params = snakemake.params
with job(snakemake):
    if params.editions is None:
        folder = {key: value for key, value in params.folder.items() if key != "contents"}
        images, table = folder.pop("images"), folder.pop("table")
        records = read_folder(images, table, classes=params.classes, **folder)
    else:
        archives = dict(zip(params.editions, snakemake.input, strict=True))
        records = read_kaggle(archives)
    warn_of_strangers(records)
    with Progress(len(records), "index lesions", unit="image") as progress:
        index = build_index(records, workers=snakemake.threads, progress=progress.advance)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(index.join(find_duplicates(index)), temporary)
