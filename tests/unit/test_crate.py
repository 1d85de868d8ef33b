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
    made(folder, "results/table_5_2.csv", "value\n1\n", "table_5_2", [large])
    made(folder, "results/metrics/table_5_2.json", "{}", "table_5_2", [large])
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
    assert {"results/other.csv", "data/images/index.csv", "workflow/Snakefile"} <= names
    # Neither raw data nor what is too large, but their digests.
    assert not names & {"data/raw/x.zip", "models/net.safetensors"}
    named = {each["name"] for each in graph.values() if each["@id"].startswith("ni:///sha-256;")}
    assert named == {"data/raw/x.zip", "models/net.safetensors"}
    jobs = [each for each in graph.values() if each["@id"].startswith("#job-")]
    assert sorted(each["name"].split(":")[0] for each in jobs) == [
        "index", "other", "table_5_2", "train"]  # fmt: skip
    (table,) = (each for each in jobs if each["name"].startswith("table_5_2"))
    assert len(table["result"]) == 2
    assert "somebody@example.org" not in json.dumps(graph)


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
