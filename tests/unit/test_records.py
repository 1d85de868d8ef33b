"""Records say what a file was made from, and nothing that is no record passes for one."""

import difflib
import hashlib
import json
import math
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.iocontainers import InputFiles, OutputFiles, Params

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.core.files import atomic_write, sha256_file
from meddiff.workflow.provenance.environment import source_digest
from meddiff.workflow.provenance.lineage import changed_inputs, lineage
from meddiff.workflow.provenance.record import Machine, Record
from meddiff.workflow.provenance.recording import (
    PACKAGES,
    describe_file,
    job_metadata,
    plain_params,
    record_outputs,
)
from meddiff.workflow.provenance.store import (
    LARGEST,
    LOCAL,
    SHARED,
    _seal,
    is_inside,
    read_effective,
    read_record,
    read_records,
    recorded_params,
    write_record,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IMPORTED = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str = "") -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def make_record(path: str, data: str = "", **others) -> Record:
    """A record of a file that need not exist."""
    fields = {
        "sha256": hashlib.sha256(data.encode()).hexdigest(),
        "md5": hashlib.md5(data.encode()).hexdigest(),
        "size": len(data),
        "rule": "make",
        "inputs": {},
        "params": {},
        "source": "0" * 64,
        "commit": None,
        "packages": {},
        "machine": None,
        "author": "A <a@b.c>",
        "started": START.isoformat(),
        "finished": START.isoformat(),
    }
    return Record(path=path, **{**fields, **others})


def seal(fields: dict[str, Any]) -> str:
    """The text of a record file whose seal is right, whatever the record says."""
    return json.dumps({**fields, "seal": _seal(fields)})


def run_job(
    rule: str,
    inputs: list[str],
    outputs: dict,
    params: dict | None = None,
    work: Callable[[], object] = lambda: None,
) -> None:
    """Record a job as Snakemake would describe it, and do its work."""
    job = SimpleNamespace(
        rule=rule,
        input=InputFiles(inputs),
        output=OutputFiles(fromdict=outputs),
        params=Params(fromdict=params or {}),
        scriptdir=str(ROOT / "workflow/scripts"),
    )
    metadata = job_metadata(job, threads=2, device="cpu")
    work()
    record_outputs(job, metadata)


@pytest.fixture
def table():
    """A table made of a raw file in two steps, and its lineage."""
    write("raw.zip", "raw")
    write_record(describe_file("raw.zip"), LOCAL)
    write("models/a.bin", "model")
    write("models/a.csv", "history")
    run_job(
        "train",
        ["raw.zip"],
        {"checkpoint": "models/a.bin", "history": "models/a.csv"},
        {"code": "c0de", "settings": {"rate": 1e-4, "widths": (1, 2)}, "seed": 3},
    )
    write("results/t.csv", "table")
    outputs = {"table": "results/t.csv", "record": "results/t.json"}
    run_job("table", ["models/a.bin", "models/a.csv"], outputs)
    return "results/t.csv"


def test_a_job_leaves_a_record_of_each_output(table):
    files = ["models/a.bin", "models/a.csv", "raw.zip", "results/t.csv", "results/t.json"]
    records = read_records(LOCAL)
    assert sorted(records) == files
    for path in files:
        data = Path(path).read_bytes()
        record = records[path]
        assert record.sha256 == hashlib.sha256(data).hexdigest()
        assert (record.md5, record.size) == (hashlib.md5(data).hexdigest(), len(data))


def test_a_record_tells_rule_inputs_parameters_and_circumstances(table):
    record = read_records(LOCAL)["models/a.csv"]
    assert record.rule == "train" and record.inputs == {"raw.zip": sha256_file("raw.zip")}
    settings = {"rate": 1e-4, "widths": [1, 2]}
    assert record.params == {"code": "c0de", "settings": settings, "seed": 3}
    assert recorded_params("models/a.csv") == record.params
    assert record.source == source_digest(ROOT)
    assert record.packages == {name: version(name) for name in PACKAGES}
    started, finished = (datetime.fromisoformat(t) for t in (record.started, record.finished))
    assert started.tzinfo == finished.tzinfo == UTC
    assert IMPORTED <= started <= finished <= datetime.now(UTC)
    assert record.machine.threads == 2 and record.machine.python == platform.python_version()


def test_inputs_of_a_job_are_recorded_with_their_digests(table):
    records = read_records(LOCAL)
    assert records["results/t.csv"].inputs == {
        path: sha256_file(path) for path in ("models/a.bin", "models/a.csv")
    }


def test_a_job_whose_input_changes_meanwhile_is_not_recorded():
    """Nobody can tell which bytes it read: its outputs would pass for made from the first ones."""
    write("raw.zip", "raw")

    def work() -> None:
        write("raw.zip", "RAW")
        write("made.csv", "from raw")

    with pytest.raises(MeddiffError, match=r"^raw\.zip: changed .*again$"):
        run_job("make", ["raw.zip"], {"c": "made.csv"}, work=work)
    assert "made.csv" not in read_records(LOCAL)


def test_a_job_started_when_its_circumstances_were_taken(monkeypatch):
    times = iter(["first", "last"])
    monkeypatch.setattr("meddiff.workflow.provenance.recording._now", lambda: next(times, "other"))
    run_job("make", [], {"c": "c.csv"}, work=lambda: write("c.csv"))
    record = read_records(LOCAL)["c.csv"]
    assert (record.started, record.finished) == ("first", "last")


def test_a_table_lies_beside_the_records_of_all_that_it_was_made_from(table):
    chain = [Record(**row) for row in json.loads(Path("results/t.json").read_text())]
    assert [record.path for record in chain] == ["raw.zip", "models/a.bin", "models/a.csv", table]
    records = read_records(LOCAL)
    assert all(record == records[record.path] for record in chain)


def test_an_output_that_is_no_file_has_no_record():
    Path("folder").mkdir()
    run_job("make", [], {"a": "folder", "b": "absent", "c": write("c.csv")})
    assert list(read_records(LOCAL)) == ["c.csv"]


def test_a_user_without_git_and_without_a_name_has_records_too(monkeypatch):
    """As in containers that run under a bare number: a finished training must not fail for it."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    run_job("make", [], {"c": write("c.csv")})
    record = read_records(LOCAL)["c.csv"]
    assert record.commit is None and record.author


def test_parameters_are_told_as_json_holds_them():
    params = Params(fromdict={"path": Path("x"), "pair": (1, 2), "by": {1: None}})
    assert plain_params(params) == {"path": repr(Path("x")), "pair": [1, 2], "by": {"1": None}}


@st.composite
def dags(draw):
    """Records of a DAG whose names tell nothing of its order, and one of its files."""
    names = draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, unique=True))
    records = {}
    for number, name in enumerate(names):
        earlier = st.sets(st.sampled_from(names[:number])) if number else st.just(set())
        outside = draw(st.sets(st.sampled_from(["x/raw", "0/raw"])))
        inputs = dict.fromkeys(draw(earlier) | outside, "0" * 64)
        records[name] = make_record(name, inputs=inputs)
    order = draw(st.permutations(names))
    return {name: records[name] for name in order}, draw(st.sampled_from(names))


@settings(deadline=None)
@given(dags())
def test_a_lineage_is_whole_and_each_file_stands_after_its_inputs(dag):
    records, target = dag
    reached, size = {target}, 0
    while size < len(reached):
        size = len(reached)
        reached |= {i for name in reached for i in records[name].inputs if i in records}
    order = lineage(target, records)
    assert len(order) == len(set(order)) and set(order) == reached
    for position, name in enumerate(order):
        assert {i for i in records[name].inputs if i in records} <= set(order[:position])
    assert order[-1] == target


def test_what_has_no_record_has_no_lineage():
    assert lineage("absent", {"a": make_record("a")}) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}]
)
def test_records_that_name_each_other_do_not_hang(links):
    """No job writes such records; an edit of provenance/ can."""
    records = {name: make_record(name, inputs={i: "0" * 64}) for name, i in links.items()}
    try:
        assert set(lineage("a", records)) == set(records)
    except MeddiffError as error:
        assert "a" in str(error)


def test_a_link_is_broken_where_an_input_is_recorded_with_other_bytes():
    records = {"a": make_record("a", "old"), "b": make_record("b", "same")}
    inputs = {"a": make_record("a", "new").sha256, "b": records["b"].sha256, "raw": "0" * 64}
    made = make_record("made", inputs=inputs)
    assert changed_inputs(made, records) == ["a"]
    assert changed_inputs(make_record("alone"), records) == []


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner),
    max_leaves=8,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
params = st.dictionaries(texts, json_values, max_size=4)
names = texts.filter(str.isprintable)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


@settings(deadline=None, max_examples=60)
@given(params, st.dictionaries(names, digests, max_size=3), texts, st.none() | params)
def test_a_record_comes_back_as_it_was_written(params, inputs, author, snakemake):
    machine = Machine(
        system="x", processor=author, instructions="", device="cpu", threads=1, python="3"
    )
    record = make_record(
        "a/b.csv",
        params=params,
        inputs=inputs,
        author=author,
        snakemake=snakemake,
        machine=machine,
        rule=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_record(record, Path(folder))
        assert read_records(Path(folder)) == {"a/b.csv": record}


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_parameter_comes_back(value):
    record = make_record("a", params={"limit": value})
    write_record(record, LOCAL)
    assert read_records(LOCAL)["a"].params == {"limit": value}


ELSEWHERE = [
    "b.csv",
    "x/a.csv",
    "/a.csv",
    "../a.csv",
    "x/../a.csv",
    "./a.csv",
    "",
    "a.csv/",
    "A.csv",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_record_of_another_path_is_refused(path):
    record = make_record("a.csv").model_copy(update={"path": path})
    write(str(SHARED / "a.csv.json"), seal(record.model_dump(mode="json")))
    with pytest.raises(MeddiffError, match=r"a\.csv\.json"):
        read_records(SHARED)


@pytest.mark.parametrize("path", ["/etc/passwd", "..", "../x", "a/../../x", "a/..", "", "/", "."])
def test_a_path_that_leaves_the_run_is_told(path):
    assert not is_inside(path)


def test_a_path_below_the_run_is_told():
    assert is_inside("data/x..y/.z") and is_inside("a")


def spoil(**changes) -> str:
    """A record that was changed and sealed again, so that only its fields are at fault."""
    return seal({**make_record("a").model_dump(mode="json"), **changes})


BAD = {
    "empty": "",
    "half": spoil()[:-20],
    "list": "[]",
    "no JSON": "<<<<<<< HEAD",
    "unknown key": spoil(extra=1),
    "unknown key of a machine": spoil(machine={"gpu": 1}),
    "missing key": seal({"path": "a"}),
    "only a seal": seal({}),
    "short digest": spoil(sha256="0" * 63),
    "upper case": spoil(md5="A" * 32),
    "negative size": spoil(size=-1),
    "input without digest": spoil(inputs={"b": ""}),
    "deep": spoil(params=0).replace('"params": 0', '"params": ' + "[" * 9999 + "]" * 9999),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_record_is_refused_in_one_line(text):
    write(str(SHARED / "a.json"), text)
    with pytest.raises(MeddiffError, match=r"provenance/a\.json") as caught:
        read_records(SHARED)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("change", [{"a\nerror: b": 1}, {"inputs": {"a\nb": ""}}])
def test_a_hostile_name_does_not_add_lines_to_the_message(change):
    write(str(SHARED / "a.json"), spoil(**change))
    with pytest.raises(MeddiffError) as caught:
        read_records(SHARED)
    assert len(str(caught.value).splitlines()) == 1


def written(record: Record) -> str:
    write_record(record, SHARED)
    return (SHARED / f"{record.path}.json").read_text()


def test_a_record_is_sealed_by_a_digest_of_the_rest():
    fields = json.loads(written(make_record("a", params={"limit": math.inf, "name": "ä"})))
    own_seal = fields.pop("seal")
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    assert own_seal == hashlib.sha256(text.encode()).hexdigest()


CHANGES = {
    "sha256": "1" * 64,
    "size": 1,
    "rule": None,
    "inputs": {"b": "0" * 64},
    "params": {"seed": 1},
    "commit": "c0ffee",
    "author": "B <b@b.c>",
    "finished": "2027",
    "snakemake": {"rule": "make"},
    "seal": "0" * 64,
}


@pytest.mark.parametrize(("key", "value"), CHANGES.items(), ids=CHANGES)
def test_a_record_that_was_changed_by_hand_is_refused(key, value):
    fields = json.loads(written(make_record("a")))
    assert fields[key] != value
    write(str(SHARED / "a.json"), json.dumps({**fields, key: value}))
    with pytest.raises(MeddiffError, match=r"^provenance/a\.json.*git checkout$"):
        read_records(SHARED)


@pytest.mark.parametrize("value", ["absent", None, 1, "", [], {}])
def test_a_record_without_a_seal_is_refused(value):
    fields = json.loads(written(make_record("a")))
    del fields["seal"]
    unsealed = fields if value == "absent" else {**fields, "seal": value}
    write(str(SHARED / "a.json"), json.dumps(unsealed))
    with pytest.raises(MeddiffError, match=r"\.json"):
        read_records(SHARED)


def test_how_a_record_is_set_does_not_matter():
    """git may turn line ends; other tools may sort keys and indent otherwise."""
    record = make_record("a", params={"b": 1, "a": [1e-7, 2**70, "ü"]})
    fields = json.loads(written(record))
    turned = dict(reversed(fields.items()))
    for text in (json.dumps(turned), json.dumps(fields, indent=4).replace("\n", "\r\n")):
        write(str(SHARED / "a.json"), text)
        assert read_records(SHARED) == {"a": record}


MERGED = make_record(
    "a", "mine", inputs={"x": "1" * 64, "y": "2" * 64}, params={"seed": 1, "rate": 0.5}
)


@settings(deadline=None)
@given(st.data())
def test_a_mixture_of_two_records_by_lines_is_refused(data):
    """As a merge without conflict makes it: each hunk from one of the two sides."""
    changes = {
        "sha256": "3" * 64,
        "md5": "4" * 32,
        "size": 99,
        "inputs": {"x": "1" * 64, "y": "5" * 64},
        "params": {"seed": 2, "rate": 0.5, "new": [1, 2]},
        "author": "B <b@b.c>",
        "finished": "later",
    }
    changed = data.draw(st.sets(st.sampled_from(sorted(changes)), min_size=1))
    other = MERGED.model_copy(update={key: changes[key] for key in changed})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.json"
        texts = []
        for record in (MERGED, other):
            write_record(record, Path(folder))
            assert read_record(file) == record
            texts.append(file.read_text())
        ours, theirs = (text.splitlines(keepends=True) for text in texts)
        mixed: list[str] = []
        for tag, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs).get_opcodes():
            take_ours = tag == "equal" or data.draw(st.booleans())
            mixed += ours[a:b] if take_ours else theirs[c:d]
        file.write_text("".join(mixed))
        if "".join(mixed) in texts:
            assert read_record(file) in (MERGED, other)
        else:
            with pytest.raises(MeddiffError, match=r"\.json"):
                read_record(file)


def test_the_digest_of_one_record_with_the_inputs_of_another_is_refused():
    """Each field is valid; only together they are wrong."""
    mine, theirs = MERGED, make_record("a", "theirs", inputs={"x": "9" * 64})
    mine_read, other = (json.loads(written(record)) for record in (mine, theirs))
    for mixed in ({**mine_read, "inputs": other["inputs"]}, {**mine_read, "seal": other["seal"]}):
        write(str(SHARED / "a.json"), json.dumps(mixed, indent=1))
        with pytest.raises(MeddiffError, match=r"\.json"):
            read_records(SHARED)


def test_what_is_too_large_is_refused_unread():
    record = make_record("a", params={"x": " " * LARGEST})
    write_record(record, SHARED)
    with pytest.raises(MeddiffError, match=r"a\.json"):
        read_records(SHARED)


def test_no_folder_holds_no_records():
    assert read_records(SHARED) == {} == read_effective()


def test_a_record_that_another_job_is_writing_is_not_read_yet():
    write_record(make_record("a"), LOCAL)
    with atomic_write(LOCAL / "b.csv.json", quiet=True):
        assert list(read_records(LOCAL)) == ["a"]


def test_what_a_killed_job_left_half_written_does_not_count():
    write_record(make_record("a"), LOCAL)
    write(str(LOCAL / ".b.csv-x1y2z3.json"), '{"path"')
    assert list(read_records(LOCAL)) == ["a"]


LOCALS, SHAREDS = make_record("a", "mine"), make_record("a", "theirs")
CASES = {
    "only local": (None, "mine", None, "mine"),
    "only local, edited": ("other", "mine", None, "mine"),
    "only shared": (None, None, "theirs", "theirs"),
    "only shared, its file": ("theirs", None, "theirs", "theirs"),
    "only shared, another file": ("other", None, "theirs", None),
    "both, no file": (None, "mine", "theirs", "mine"),
    "both, the local file": ("mine", "mine", "theirs", "mine"),
    "both, the shared file": ("theirs", "mine", "theirs", "mine"),
    "both, another file": ("other", "mine", "theirs", "mine"),
}


@pytest.mark.parametrize(("here", "local", "shared", "speaks"), CASES.values(), ids=CASES)
def test_local_records_speak_and_shared_ones_where_they_fit(here, local, shared, speaks):
    records = {"mine": LOCALS, "theirs": SHAREDS}
    if here:
        write("a", here)
    if local:
        write_record(records[local], LOCAL)
    if shared:
        write_record(records[shared], SHARED)
    assert read_effective() == ({"a": records[speaks]} if speaks else {})


def test_of_two_records_of_the_same_bytes_the_local_one_speaks():
    write("a", "mine")
    write_record(LOCALS, LOCAL)
    write_record(LOCALS.model_copy(update={"author": "B <b@b.c>"}), SHARED)
    assert read_effective() == {"a": LOCALS}


def test_parameters_are_known_from_whoever_made_the_file():
    assert recorded_params("a") == {}
    write_record(SHAREDS.model_copy(update={"params": {"seed": 1}}), SHARED)
    assert recorded_params("a") == {"seed": 1}
    write_record(LOCALS.model_copy(update={"params": {"seed": 2}}), LOCAL)
    assert recorded_params("a") == {"seed": 2}
