"""A run as an RO-Crate: its files, its jobs, and what the profiles' validator says."""

import hashlib
import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from meddiff.cli import main
from meddiff.workflow.provenance.record import Machine, Record
from meddiff.workflow.provenance.store import LOCAL, write_record

pytest.importorskip("rocrate")
STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}
MACHINE = Machine(
    system="Linux", processor="x", instructions="AVX2", device="cpu", threads=1, python="3.11"
)


def made(run: Path, path: str, text: str, rule: str | None, inputs: list[Record]) -> Record:
    data = text.encode()
    (run / path).parent.mkdir(parents=True, exist_ok=True)
    (run / path).write_bytes(data)
    record = Record(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data).hexdigest(),
        size=len(data),
        rule=rule,
        inputs={each.path: each.sha256 for each in inputs},
        params={"stamp": STAMP},
        source="a" * 64,
        commit="b" * 40,
        packages={"snakemake": "9.27.1"},
        machine=MACHINE if rule else None,
        author="The authors <somebody@example.org>",
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
    )
    write_record(record, run / LOCAL)
    return record


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    raw = made(folder, "data/raw/x.zip", "raw", None, [])
    index = made(folder, "data/images/index.csv", "id\n1\n", "index", [raw])
    large = made(folder, "models/net.safetensors", "x" * 2_000_000, "train", [index])
    small = made(folder, "predictions/net.csv", "label\nbenign\n", "predict", [large])
    made(folder, "results/table_5_2.csv", "value\n1\n", "table_5_2", [large, small])
    made(folder, "results/metrics/table_5_2.json", "{}", "table_5_2", [large, small])
    made(folder, "results/other.csv", "value\n2\n", "other", [index])
    return folder


def export(run: Path, target: Path, *arguments: str) -> int:
    options = ["--directory", str(run), "--license", "CC-BY-4.0", "--largest", "1"]
    return main(["export", str(target), *arguments, *options])


def read_graph(crate: Path) -> dict[str, dict]:
    with ZipFile(crate) as archive:
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    return {each["@id"]: each for each in graph}


def test_results_are_inside_and_what_they_were_made_from_is_named(
    run: Path, tmp_path: Path
) -> None:
    crate = tmp_path / "crate.zip"
    assert export(run, crate) == 0
    graph = read_graph(crate)
    with ZipFile(crate) as archive:
        names = set(archive.namelist())
        assert archive.read("results/table_5_2.csv") == b"value\n1\n"
    assert {"results/other.csv", "predictions/net.csv", "workflow/Snakefile"} <= names
    # Neither raw data, tables of real images nor what is too large, but their digests.
    left = {"data/raw/x.zip", "data/images/index.csv", "models/net.safetensors"}
    assert not names & left
    named = {each["name"] for each in graph.values() if each["@id"].startswith("ni:///sha-256;")}
    assert named == left
    jobs = [each for each in graph.values() if each["@id"].startswith("#job-")]
    assert sorted(each["name"].split(":")[0] for each in jobs) == [
        "index", "other", "predict", "table_5_2", "train"]  # fmt: skip
    (table,) = (each for each in jobs if each["name"].startswith("table_5_2"))
    assert len(table["result"]) == 2
    assert "somebody@example.org" not in json.dumps(graph)


PATIENT = "ANNA_KAREN_1877"
"""Stands in every file that shows or names a real image."""
OF_PATIENTS = {
    "data/images/index.csv": "id,patient\n1,{}\n",
    "data/images/split.csv": "image,split\n{},train\n",
    "data/images/duplicates.csv": "first,second\n{},2\n",
    "data/images/train/benign.npy": "{}",
    "data/images/train/benign.csv": "id,label\n{},benign\n",
    "data/images/validation/synthetic.npy": "{}",
    "data/images/test/noise.npy": "{}",
    "data/images/augmented-train/benign.npy": "{}",
    "data/segmentation/index.csv": "member\n{}\n",
    "data/segmentation/test/masks.npy": "{}",
    "features/unet/test/benign.npy": "{}",
    "features/unet/augmented-validation/benign.npy": "{}",
    "cas/hog_svm.csv": "classifier,group\nsvm,{}\n",
    "cas/doses.csv": '"fraction","id"\n1,"{}"\n',
    "reader_study/key.csv": "study,image\n1,{}\n",
    "results/reader_study_images.csv": "data,image\nx,{}\n",
    "results/figures/image_sets.png": "{}",
    "results/figures/data/segmentation.svg": "{}",
    "results/report.html": "{}",
}
OF_NOBODY = (
    "data/images/archives.csv", "data/images/synthetic/benign.npy", "data/images/noise/benign.npy",
    "data/images/generators/gan/synthetic/benign.npy", "data/images/guided-2/benign.npy",
    "data/images/families/vp/pf_ode/benign.npy", "features/unet/synthetic/benign.npy",
    "models/ddpm/benign_previews.npy", "predictions/unet.csv", "results/audit/copies.csv",
    "results/table_5_3.csv", "results/samples/benign.png", "results/figures/cas/arms.png",
)  # fmt: skip


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A run of patients: what shows or names them comes from the raw file, the rest from a net."""
    folder = tmp_path / "clinic"
    raw = made(folder, "data/raw/x.zip", PATIENT, None, [])
    # A page or picture is of patients because a file is that it was made from.
    real = [raw]
    for path, text in OF_PATIENTS.items():
        inputs = real[-1:] if path.endswith(".html") else [raw]
        real.append(made(folder, path, text.format(PATIENT), f"rule_{len(real)}", inputs))
    net = made(folder, "models/net.safetensors", "x", "train", real)
    nobody = [made(folder, path, "class,value\nbenign,1\n", "draw", [net]) for path in OF_NOBODY]
    made(folder, "results/table_5_2.csv", "value\n1\n", "table_5_2", [net, *real, *nobody])
    return folder


def test_no_real_image_or_patient_is_inside_unless_asked_for(
    clinic: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert export(clinic, tmp_path / "crate.zip") == 0
    assert f"{len(OF_PATIENTS)} files" in capsys.readouterr().out
    with ZipFile(tmp_path / "crate.zip") as archive:
        names = set(archive.namelist())
        assert [n for n in names if PATIENT.encode() in archive.read(n)] == []
    assert names >= {*OF_NOBODY, "models/net.safetensors", "results/table_5_2.csv"}
    named = {e["name"] for i, e in read_graph(tmp_path / "crate.zip").items() if i[:3] == "ni:"}
    assert named == {*OF_PATIENTS, "data/raw/x.zip"}
    assert export(clinic, tmp_path / "all.zip", "--real-images") == 0
    with ZipFile(tmp_path / "all.zip") as archive:
        assert set(archive.namelist()) - names == set(OF_PATIENTS)


def test_some_results_come_with_their_own_lineage(run: Path, tmp_path: Path) -> None:
    crate = tmp_path / "crate.zip"
    assert export(run, crate, "results/other.csv") == 0
    with ZipFile(crate) as archive:
        assert "results/table_5_2.csv" not in archive.namelist()


@pytest.mark.parametrize("target", ["results/none.csv", "data/none.csv"])
def test_a_result_without_record_is_refused(
    run: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert export(run, tmp_path / "crate.zip", target) == 1
    assert target in capsys.readouterr().err
    assert not (tmp_path / "crate.zip").exists()


def test_a_changed_result_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (run / "results/other.csv").write_text("value\n3\n")
    assert export(run, tmp_path / "crate.zip") == 1
    assert "results/other.csv" in capsys.readouterr().err
    assert not (tmp_path / "crate.zip").exists()


def test_the_profiles_hold(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process, Workflow and Provenance Run Crate, Workflow RO-Crate and RO-Crate 1.1, offline."""
    import rocrate

    services = pytest.importorskip("rocrate_validator.services")
    http = pytest.importorskip("rocrate_validator.utils.http")
    # The context comes from the library, with those terms of 1.1 that a later version has renamed.
    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text())
    context["@context"] |= {
        name: f"https://bioschemas.org/{name}"
        for name in ("ComputationalWorkflow", "FormalParameter")
    }

    class Context:
        status_code, ok, from_cache = 200, True, True
        headers = {"Content-Type": "application/ld+json"}
        text = json.dumps(context)
        content = text.encode()

        def __init__(self, requester: object, url: str, *_: object, **__: object) -> None:
            assert url == "https://w3id.org/ro/crate/1.1/context"

        def json(self) -> object:
            return context

        def raise_for_status(self) -> None:
            pass

    monkeypatch.setattr(http.HttpRequester, "get", lambda *a, **k: Context(*a, **k), raising=False)
    crate = tmp_path / "crate.zip"
    assert export(run, crate) == 0
    settings = {"rocrate_uri": str(crate), "profile_identifier": "provenance-run-crate",
                "requirement_severity": "REQUIRED"}  # fmt: skip
    assert [each.message for each in services.validate(settings).get_issues()] == []
    # The validator would notice: without its workflow it is none.
    broken = tmp_path / "broken.zip"
    with ZipFile(crate) as archive, ZipFile(broken, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "ro-crate-metadata.json":
                data = data.replace(b'"ComputationalWorkflow"', b'"CreativeWork"')
            copy.writestr(name, data)
    assert services.validate(settings | {"rocrate_uri": str(broken)}).get_issues()
