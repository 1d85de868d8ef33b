"""List every lesion image with label, patient and digests, and find duplicates."""

from pathlib import Path

from meddiff.core.files import write_csv
from meddiff.core.progress import Progress
from meddiff.data.duplicates.search import find_duplicates
from meddiff.data.index import build_index
from meddiff.data.registry import by_version
from meddiff.data.settings import Folder
from meddiff.data.sources import (
    read_folder,
    read_lesions,
    refuse_absent,
    refuse_missing_paths,
    warn_of_strangers,
)
from meddiff.workflow.jobs import job

params, output = snakemake.params, snakemake.output
with job(snakemake):
    official = None
    if params.folder:
        # Where the folder lies is no parameter of the rule: what is in it is.
        folder = Folder.model_validate(snakemake.config["data"]["folder"])
        paths = folder.paths(Path(snakemake.scriptdir) / "../..")
        refuse_missing_paths(paths)
        records = read_folder(
            paths["images"],
            paths["table"],
            masks=paths.get("masks"),
            classes=params.classes,
            **folder.model_dump(exclude={"name", "images", "table", "masks"}),
        )
    else:
        files = by_version([*snakemake.input.images, *snakemake.input.tables])
        records, official = read_lesions(
            files, kaggle=params.source != "isic", policy=params.policy
        )
    refuse_absent(records, params.classes)
    warn_of_strangers(records)
    with Progress(len(records), "index lesions", unit="image") as progress:
        index = build_index(records, workers=snakemake.threads, progress=progress.advance)
    with Progress(len(records), "find duplicates", unit="image") as progress:
        found = find_duplicates(
            index, official=official, workers=snakemake.threads, progress=progress.advance
        )
    write_csv(index.join(found.images), output.index)
    write_csv(found.links, output.links)
