"""Download files: whole and verified, or not at all."""

from meddiff.data.download.http import download
from meddiff.data.download.kaggle import check_kaggle_credentials, download_kaggle
from meddiff.data.download.registered import download_registered
from meddiff.data.download.verify import Recorded

__all__ = [
    "Recorded",
    "check_kaggle_credentials",
    "download",
    "download_kaggle",
    "download_registered",
]
