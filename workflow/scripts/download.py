"""Download one file of the registry."""

from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded
from meddiff.data.settings import DataSettings
from meddiff.workflow.jobs import job
from meddiff.workflow.provenance.store import recorded_sha256

with job(snakemake):
    path = snakemake.output[0]
    # Where a file comes from is no parameter of the rule: its checksum is what counts.
    mirrors = DataSettings.model_validate(snakemake.config["data"]).mirrors
    recorded = recorded_sha256(path)
    download_registered(
        snakemake.params.file, path, mirrors, Recorded(*recorded) if recorded else None
    )
