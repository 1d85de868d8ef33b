"""MedNIST (B. J. Erickson, Mayo Clinic): the hand radiographs of the study's section 5.1."""

from pathlib import Path

import pandas as pd

from meddiff.data.sources.files import jpegs_by_stem
from meddiff.data.sources.tables import join, record_table


def read_mednist_hand(archive: str | Path) -> pd.DataFrame:
    """Read the hand radiographs of MedNIST: `MedNIST/Hand/*.jpeg`, sorted by name, label "hand"."""
    files = jpegs_by_stem(archive, "MedNIST/Hand/*.jpeg", folder="Hand")
    ids, members = [f"mednist/{stem}" for stem in files], list(files.values())
    shared = {"edition": "mednist", "archive": str(archive), "label": "hand"}
    return join([record_table(id=ids, member=members, **shared)])
