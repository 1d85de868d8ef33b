"""What Kaggle and the ISIC archive publish, with phantom images, as a folder for `FaultServer`."""

import zipfile
from pathlib import Path

from meddiff.data.phantom.archives import write_kaggle_edition
from meddiff.data.phantom.challenge import write_challenge_tables
from meddiff.data.phantom.plan import plan_editions
from meddiff.data.registry import read_registry, registered_files

ARCHIVE = "https://isic-archive.s3.amazonaws.com/challenges"
FOLDERS = {
    "2018": "ISIC2018_Task3_Training_Input",
    "2019": "ISIC_2019_Training_Input",
    "2020": "train",
}
PLAN = plan_editions(
    7, {edition: {"benign": 24, "malignant": 16} for edition in FOLDERS}, 0.1, 0.05
)


def address(file: str) -> str:
    """The path of a file of the registry on the server."""
    published_at = read_registry()[file].address
    return published_at.replace(ARCHIVE, "/challenges").replace("kaggle://", "/kaggle/") + (
        ".zip" if published_at.startswith("kaggle://") else ""
    )


def publish(folder: Path) -> Path:
    """Fill a folder; return it."""
    for edition, name in FOLDERS.items():
        rows = PLAN[PLAN["edition"] == edition]
        kaggle = folder / address(registered_files("kaggle", edition)["images"])[1:]
        write_kaggle_edition(kaggle, rows, size=96)
        files = registered_files("isic", edition)
        paths = {role: folder / address(file)[1:] for role, file in files.items()}
        write_challenge_tables(edition, paths, rows)
        with zipfile.ZipFile(kaggle) as small, zipfile.ZipFile(paths["images"], "w") as large:
            for member in small.namelist():
                if member.endswith(".jpg"):
                    large.writestr(f"{name}/{Path(member).name}", small.read(member))
            large.writestr(f"{name}/LICENSE.txt", "CC-BY-NC")
    return folder
