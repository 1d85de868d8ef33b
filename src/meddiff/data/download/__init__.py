"""Fetch raw archives: whole and verified, or not at all."""

from meddiff.data.download.http import fetch
from meddiff.data.download.kaggle import fetch_kaggle, kaggle_credentials
from meddiff.data.download.registered import fetch_registered
from meddiff.data.download.verify import Recorded

__all__ = ["Recorded", "fetch", "fetch_kaggle", "fetch_registered", "kaggle_credentials"]
