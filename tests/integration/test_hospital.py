"""From a folder of DICOM files to Table 5.2, without a table and without a name of a patient."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import SMOKE, planned
from hospital import SECRETS, dicom, saved
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_view
from meddiff.data.readers.pseudonyms import VARIABLE

pytestmark = pytest.mark.slow


def test_a_folder_of_dicom_files(snakemake, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for number in range(60):
        rng = np.random.default_rng(number)
        image, _ = draw_lesion(sample_lesion(rng, number % 4 > 1), sample_view(rng), (48, 64))
        levels = image.mean(axis=2).astype(np.int16) * 8
        file = dicom(levels, PatientID=f"{SECRETS[1]}{number // 2}", RescaleSlope=1,
                     RescaleIntercept=-1024, WindowCenter=0, WindowWidth=2000)  # fmt: skip
        saved(tmp_path / f"images/{['benign', 'malignant'][number % 4 // 2]}/IM{number:04}", file)
    data = {"source": "folder", "grey": True, "folder": {"images": str(tmp_path / "images")}}
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"data": data}))
    run = tmp_path / "run"
    done = snakemake(run, "results/table_5_2.csv", configs=[SMOKE, overlay])
    table = pd.read_csv(run / "results/table_5_2.csv")
    assert set(table["class"]) == {"benign", "malignant", "mean"}
    assert table.loc[table["extractor"] != "unet", "value"].notna().any()
    split = pd.read_csv(run / "data/images/split.csv", dtype=str)
    assert split["patient"].str.fullmatch("[0-9a-f]{16}").all()
    assert (split.dropna(subset=["split"]).groupby("patient")["split"].nunique() == 1).all()
    assert split["encoding"].eq("DICOM MONOCHROME2 Explicit VR Little Endian").all()
    # Neither in a file of the run, of records and logs too, nor on the screen.
    files = [path for path in run.rglob("*") if path.is_file()]
    assert any(".snakemake/log" in str(path) for path in files)
    for secret in map(str.encode, SECRETS):
        assert secret not in done.stdout.encode()
        assert not [path for path in files if secret in contents(path)]
    again = snakemake(run, "results/table_5_2.csv", "--dry-run", configs=[SMOKE, overlay])
    assert planned(again.stdout) == {}
    before = (run / "data/images/index.csv").read_bytes()
    snakemake(run, "data/images/index.csv", "--forcerun", "index", configs=[SMOKE, overlay])
    assert (run / "data/images/index.csv").read_bytes() == before
    key = (tmp_path / "config/meddiff/patient.key").read_bytes()
    assert not [path for path in files if key in contents(path)]


def contents(path):
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            return data + b"".join(map(file.read, file.namelist()))
    return data
