"""The study's own archives, as they are: what they list, what they hold, what is used."""

from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from meddiff.data.download.local import find_local
from meddiff.data.settings import ArchivesSettings
from meddiff.data.sources.accounting import take_usable
from meddiff.data.sources.isic2016 import read_isic2016
from meddiff.data.sources.mednist import read_mednist_hand
from meddiff.data.sources.published import read_editions

REAL = ROOT.parent / "shared/real"
KAGGLE = "kaggle/2018.zip"
pytestmark = pytest.mark.skipif(
    not (REAL / "kaggle/2018.zip").is_file(),
    reason="the study's archives (../shared/real) are not beside the project",
)


@pytest.mark.parametrize(
    ("policy", "classes"),
    [
        # The study's numbers of positives and of its benign DDPM's images.
        ("melanoma", {"benign": 6834, "malignant": 662}),
        # HAM10000's melanomas and carcinomas, and the challenge's melanomas; its 1,341 other test
        # images have no diagnosis.
        ("malignant", {"benign": 5046, "malignant": 1109}),
    ],
)
def test_the_edition_of_2018(policy: str, classes: dict[str, int]) -> None:
    metadata = str(REAL / "ham10000/metadata.csv")
    files = {"images": str(REAL / "kaggle/2018.zip"), "diagnoses": metadata, "lesions": metadata}
    records, _ = read_editions({"2018": files}, policy, kaggle=True)
    used, counts = take_usable(records)
    assert used["label"].value_counts().to_dict() == classes
    assert used["patient"].isna().all()
    assert used["lesion"].notna().sum() == len(used[used["diagnosis"].notna()]) == 5984
    row = counts.iloc[0].drop("edition").to_dict()
    unlabelled = 7496 - sum(classes.values())
    assert row == {
        "n_rows": 8982,
        "rows_without_image": 1486,
        "n_images": 7496,
        "images_without_row": 0,
        "images_without_diagnosis": 1512,
        "images_without_label": unlabelled,
        "invented_patients": 1512,
        "lesions_as_patients": 5984,
        "n_used": sum(classes.values()),
    }


def test_task_1_of_2018_holds_most_of_isic_2016() -> None:
    images, masks = (str(REAL / f"isic2018_task1/{kind}_256.zip") for kind in ("images", "masks"))
    table = read_isic2016(images, masks, images, masks)
    assert table["split"].value_counts().to_dict() == {"train": 806, "test": 339}
    stems = table["mask_member"].map(lambda name: Path(name).stem)
    assert (stems == table["image"] + "_segmentation").all()


def test_the_hands_alone() -> None:
    table = read_mednist_hand(str(REAL / "mednist/MedNIST_Hand.zip"))
    assert len(table) == 10_000 and table["id"].is_unique


@pytest.mark.parametrize("overlay", ["study-2018.yaml", "thesis-hand.yaml"])
def test_the_configurations_name_what_is_there(overlay: str) -> None:
    data = yaml.safe_load((ROOT / "config" / overlay).read_text())["data"]
    archives = ArchivesSettings(folder=str(REAL), files=data["archives"]["files"])
    for file in [*archives.files, *([KAGGLE] if overlay.startswith("study") else [])]:
        local = find_local(file, archives, ROOT)
        assert local and local.stands_in == (file != KAGGLE)
