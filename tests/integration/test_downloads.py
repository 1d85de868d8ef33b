"""The rules that download, against a server with the layouts of Kaggle and the ISIC archive."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from published import ARCHIVE, PLAN, address, publish

from conftest import SMOKE
from fault_server import Break, FaultServer, Status
from meddiff.data.registry import read_registry, registered_files

SECRET = "0123456789abcdef-secret"
AUDIT = [f"results/audit/{name}.csv" for name in ("overlap", "labels", "encoding")]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("served"))


@pytest.fixture
def server(served):
    with FaultServer(served) as running:
        yield running


@pytest.fixture
def run(server, snakemake, tmp_path):
    """Return a function that runs targets with everything fetched from the server."""

    def run(source: str, *targets: str, check: bool = True, **data: object):
        mirrors = {ARCHIVE: f"{server.url}/challenges"}
        settings = {"source": source, "mirrors": mirrors} | data
        overlay = tmp_path / f"{source}.yaml"
        overlay.write_text(yaml.safe_dump({"data": settings}))
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        login = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": SECRET, "HOME": str(home)}
        directory = tmp_path / source
        done = snakemake(
            directory,
            *targets,
            configs=[SMOKE, overlay],
            check=check,
            env={**login, **server.as_kaggle},
        )
        assert SECRET not in done.stdout
        logs = [path.read_text() for path in directory.rglob("*.log")]
        assert not any(SECRET in text for text in logs)
        return directory, done.stdout

    return run


@pytest.mark.slow
def test_kaggle_from_end_to_end(server, run):
    """Through the official client, with breaks on the way, down to the audit and an image set."""
    images = registered_files("kaggle", "2019")["images"]
    server.plan(address(images), Break(after=20_000, times=2))
    server.plan(address(registered_files("isic", "2020")["diagnoses"]), Status(code=503, times=1))
    directory, _ = run("kaggle", *AUDIT, "data/images/train/benign.npy")
    index = pd.read_csv(directory / "data/images/index.csv", dtype="string")
    assert len(index) == len(PLAN) == 120
    expected = PLAN["target"].map({0: "benign", 1: "malignant"}).value_counts()
    assert index["label"].value_counts().to_dict() == expected.to_dict()
    assert index["lesion"].notna().all() and set(index["diagnosis"]) >= {"MEL", "NV"}
    duplicates = pd.read_csv(directory / AUDIT[0], dtype={"edition": str, "other_edition": str})
    assert (duplicates["data"] == "isic").all()
    across = duplicates[duplicates["edition"] != duplicates["other_edition"]]
    assert across["duplicates"].sum() > 0 and (across["same_bytes"] > 0).any()
    assert pd.read_csv(directory / AUDIT[1])["n_images"].sum() == len(PLAN)


@pytest.mark.slow
def test_the_archive_from_end_to_end(server, run):
    """The same images in the archive's layout, labelled by the policy of the study's text."""
    images = registered_files("isic", "2020")["images"]
    size = (server.folder / address(images)[1:]).stat().st_size
    server.plan(address(images), Break(after=size // 3, times=2))
    directory, _ = run("isic", AUDIT[1], "data/images/split.csv", label_policy="malignant")
    assert server.sent(address(images)) < size + 100_000
    index = pd.read_csv(directory / "data/images/split.csv", dtype="string")
    assert len(index) == len(PLAN)
    carcinoma = index["diagnosis"].isin(["MEL", "BCC", "SCC", "AK"])
    assert (index["label"].eq("malignant") == carcinoma).all()
    assert carcinoma.sum() > (PLAN["target"] == 1).sum()


def test_other_bytes_than_at_first_are_refused(server, run, served):
    file = registered_files("isic", "2020")["duplicates"]
    target = f"data/raw/published/{file}"
    directory, _ = run("isic", target)
    first = (directory / target).read_bytes()
    (directory / target).unlink()
    place = served / address(file)[1:]
    place.write_bytes(first + b"\n")
    try:
        _, output = run("isic", target, check=False)
        assert "recorded" in output and file in output and "Traceback" not in output
        assert not (directory / target).exists()
    finally:
        place.write_bytes(first)
    run("isic", target)
    assert (directory / target).read_bytes() == first


def test_another_checksum_than_published_is_refused(server, run, served):
    """The phantom is not the published archive, and a mirror cannot pretend that it is."""
    file = registered_files("isic", "2016")["train_masks"]
    place = served / address(file)[1:]
    place.parent.mkdir(exist_ok=True)
    shutil.copy(served / address(registered_files("kaggle", "2018")["images"])[1:], place)
    directory, output = run("isic", f"data/raw/published/{file}", check=False)
    assert read_registry()[file].md5 in output and "Traceback" not in output
    assert not (directory / f"data/raw/published/{file}").exists()


def test_what_is_missing_is_named(server, run):
    file = registered_files("isic", "2019")["diagnoses"]
    server.plan(address(file), Status(code=404))
    _, output = run("isic", f"data/raw/published/{file}", check=False)
    lines = [line for line in output.splitlines() if "error: " in line]
    assert lines and "404" in lines[0] and address(file) in lines[0]
    assert len(server.requests_of(address(file))) == 1


def test_without_credentials_no_job_starts(server, snakemake, tmp_path):
    overlay = tmp_path / "kaggle.yaml"
    overlay.write_text("data: {source: kaggle}\n")
    variables = {name: "" for name in os.environ if name.startswith("KAGGLE_")}
    env = {**variables, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = snakemake(tmp_path / "r", AUDIT[0], configs=[SMOKE, overlay], check=False, env=env)
    assert done.returncode != 0 and "KAGGLE_API_TOKEN" in done.stdout
    assert not (tmp_path / "r/data").exists()
