"""List every image with label, patient and digests, and find duplicates."""

import os
from pathlib import Path

from meddiff.core.files import write_csv
from meddiff.core.progress import Progress
from meddiff.data.duplicates.search import search_index
from meddiff.data.index import build_index
from meddiff.data.registry import by_version
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.accounting import take_usable
from meddiff.data.sources.folder import read_folder
from meddiff.data.sources.published import SOURCE_READERS
from meddiff.data.sources.tables import require_classes, warn_ungrouped
from meddiff.workflow.imported import PROJECT
from meddiff.workflow.jobs import job

params, output = snakemake.params, snakemake.output
with job(snakemake):
    official, windows = None, {}
    if params.folder:
        # Where the folder lies is not a parameter of the rule: its contents are.
        folder = FolderSettings.model_validate(snakemake.config["data"]["folder"])
        records = read_folder(folder, params.classes, Path(os.environ[PROJECT]))
        windows = folder.windows
    else:
        files = by_version([*snakemake.input.images, *snakemake.input.tables])
        records, official = SOURCE_READERS[params.source](files, params.policy)
    records, counts = take_usable(records)
    require_classes(records, params.classes)
    warn_ungrouped(records)
    with Progress(len(records), "index images", unit="image") as progress:
        index = build_index(
            records,
            grey=params.grey,
            windows=windows,
            workers=snakemake.threads,
            progress=progress.advance,
        )
    with Progress(len(records), "find duplicates", unit="image") as progress:
        duplicates = search_index(
            index,
            official=official,
            near=params.near,
            workers=snakemake.threads,
            progress=progress.advance,
        )
    write_csv(index.join(duplicates.images), output.index)
    write_csv(duplicates.links, output.links)
    write_csv(counts, output.counts)
