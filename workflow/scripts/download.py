"""Download one file of the registry, or take it from the user's folder of archives."""

import os
from pathlib import Path

from meddiff.data.download.local import copy_local, find_local
from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded
from meddiff.data.settings import DataSettings
from meddiff.workflow.imported import PROJECT
from meddiff.workflow.jobs import job
from meddiff.workflow.provenance.store import recorded_sha256

with job(snakemake):
    path, file = snakemake.output[0], snakemake.params.file
    # Where a file comes from is no parameter of the rule: its checksum is what counts.
    data = DataSettings.model_validate(snakemake.config["data"])
    first = recorded_sha256(path)
    recorded = Recorded(*first) if first else None
    if local := find_local(file, data.archives, Path(os.environ[PROJECT])):
        copy_local(local, file, path, recorded)
    else:
        download_registered(file, path, data.mirrors, recorded)
