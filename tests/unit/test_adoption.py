"""Snakemake is told what the records say of the bytes that are here, and nothing else."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from meddiff.errors import MeddiffError
from meddiff.files import sha256_file
from meddiff.provenance.digests import CACHE
from meddiff.provenance.record import LOCAL, SHARED, Record, describe_file, write_record
from meddiff.sharing.adoption import INCOMPLETE, METADATA, adopt, metadata_file, read_metadata

ENDED = 1_700_000_000.25


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def make_metadata(path: str, inputs: tuple[str, ...] = ()) -> dict:
    """Metadata as Snakemake itself writes it."""
    made = MetadataRecord(
        rule="make",
        input=list(inputs),
        params=["'c0de'", f"<{path}>"],
        record_format_version=6,
        starttime=ENDED - 9,
        endtime=ENDED,
    )
    return dict(made.items())


def share(path: str, text: str, *inputs: str) -> Record:
    """Write a file and its shared record."""
    record = describe_file(
        write(path, text),
        rule="make",
        inputs={file: sha256_file(file) for file in inputs},
        snakemake=make_metadata(path, inputs),
    )
    write_record(record, SHARED)
    return record


def make_here(path: str, text: str, *inputs: str) -> Record:
    """Write a file, its local record, and what Snakemake knows of it."""
    inputs_now = {file: sha256_file(file) for file in inputs}
    record = describe_file(write(path, text), rule="make", inputs=inputs_now)
    write_record(record, LOCAL)
    write(str(metadata_file(path)), MetadataRecord(**make_metadata(path)).model_dump_json())
    return record


def is_void(path: str) -> bool:
    """Whether Snakemake finds parameters that no rule has, which it reads without complaint."""
    told = MetadataRecord.model_validate(read_metadata(path))
    return bool(told.params) and told.params != make_metadata(path)["params"]


def snapshot(*, states: bool = True) -> dict:
    """Every file of the run and of Snakemake with its bytes, and with time and inode."""
    return {
        path: (path.read_bytes(), (path.stat().st_mtime_ns, path.stat().st_ino) if states else None)
        for path in Path().rglob("*")
        if path.is_file() and not path.is_relative_to(CACHE)
    }


def test_a_shared_file_gets_its_metadata_and_the_time_at_which_its_job_ended():
    record = share("models/a.bin", "weights")
    assert adopt() == {"models/a.bin": record}
    assert read_metadata("models/a.bin") == record.snakemake
    assert Path("models/a.bin").stat().st_mtime == ENDED
    assert Path("models/a.bin").read_text() == "weights"


def test_a_shared_file_that_is_not_here_gets_its_metadata():
    """Snakemake then knows what its job was, and needs no bytes of what nothing reads."""
    record = share("models/a.bin", "weights")
    Path("models/a.bin").unlink()
    adopt()
    assert read_metadata("models/a.bin") == record.snakemake
    assert not Path("models/a.bin").exists()


def test_without_records_nothing_is_written():
    write("config.yaml", "seed: 1")
    assert adopt() == {}
    assert not Path(".snakemake").exists()


def test_shared_bytes_win_over_what_snakemake_remembered_of_others():
    share("models/a.bin", "weights")
    write(str(metadata_file("models/a.bin")), '{"params": ["old"]}')
    adopt()
    assert not is_void("models/a.bin")


def test_a_file_that_was_shared_by_hand_has_no_metadata():
    write_record(describe_file(write("data/raw/x.zip", "raw")), SHARED)
    adopt()
    assert read_metadata("data/raw/x.zip") is None


def test_an_edited_shared_file_stops_the_run_with_its_remedy():
    share("results/t.csv", "1.0")
    write("results/t.csv", "2.0")
    with pytest.raises(MeddiffError, match=r"results/t\.csv holds other bytes .*: ") as caught:
        adopt()
    assert "`meddiff restore --replace results/t.csv`" in str(caught.value)
    assert Path("results/t.csv").read_text() == "2.0"


def test_an_edited_own_file_stops_the_run_with_its_remedy():
    make_here("results/t.csv", "1.0")
    write("results/t.csv", "2.0")
    with pytest.raises(MeddiffError, match=r"results/t\.csv holds .*: delete it to have it made"):
        adopt()
    Path("results/t.csv").unlink()
    adopt()


def test_every_edited_file_is_named_on_its_own_line():
    for name in ("a", "b", "c"):
        share(f"models/{name}", "x")
    for name in ("c", "a"):
        write(f"models/{name}", "y")
    with pytest.raises(MeddiffError) as caught:
        adopt()
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["models/a", "models/c"]


def test_an_edit_that_keeps_the_size_is_found():
    share("models/a.bin", "weights")
    adopt()
    write("models/a.bin", "WEIGHTS")
    with pytest.raises(MeddiffError, match="other bytes"):
        adopt()


def test_what_was_made_here_may_differ_from_what_is_shared():
    share("models/a.bin", "theirs")
    make_here("models/a.bin", "mine")
    before = snapshot()
    adopt()
    assert read_metadata("models/a.bin") == make_metadata("models/a.bin")
    assert all(snapshot()[path] == state for path, state in before.items())


def test_shared_bytes_that_took_the_place_of_own_ones_are_adopted():
    make_here("models/a.bin", "mine")
    record = share("models/a.bin", "theirs")
    adopt()
    assert read_metadata("models/a.bin") == record.snakemake
    assert Path("models/a.bin").stat().st_mtime == ENDED


@pytest.mark.parametrize("path", ["models/a.bin", "results/x/y.csv", "data/lesions/train/b.npy"])
def test_a_stranger_is_never_taken_for_a_result(path):
    write(path, "from somewhere")
    adopt()
    assert is_void(path)
    assert "not made by this workflow here" in read_metadata(path)["params"][0]


@pytest.mark.parametrize(
    "path", ["data/raw/published/x.zip", "models/.gitkeep", "results/README.md", "config/x.yaml"]
)
def test_what_people_put_there_is_no_stranger(path):
    write(path, "mine")
    adopt()
    assert read_metadata(path) is None


def test_a_stranger_loses_what_snakemake_remembered_of_it():
    """A file that was made, deleted with its record, and copied back from elsewhere."""
    make_here("models/a.bin", "weights")
    (LOCAL / "models/a.bin.json").unlink()
    adopt()
    assert is_void("models/a.bin")


def test_a_name_that_is_no_text_does_not_end_the_workflow():
    try:
        write(os.fsdecode(b"models/\xe4.bin"), "x")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    adopt()


def mark_incomplete(path: str) -> None:
    write(str(metadata_file(path, INCOMPLETE)), '{"external_jobid": null}')


def test_what_a_broken_job_left_is_snakemakes_business():
    share("models/a.bin", "weights")
    make_here("models/b.bin", "weights")
    for path in ("models/a.bin", "models/b.bin", "models/c.bin"):
        write(path, "half")
        mark_incomplete(path)
    before = snapshot()
    adopt()
    assert snapshot() == before


def test_what_was_made_from_other_inputs_is_planned():
    make_here("models/a.bin", "old")
    make_here("features/a.npy", "features", "models/a.bin")
    adopt()
    assert not is_void("features/a.npy")
    make_here("models/a.bin", "new")
    adopt()
    assert is_void("features/a.npy") and not is_void("models/a.bin")
    assert read_metadata("features/a.npy")["params"] == ["<made from another models/a.bin>"]


def test_shared_files_of_inputs_that_were_made_anew_are_planned_though_neither_is_here():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    share("models/b.bin", "other")
    make_here("models/a.bin", "new")
    for path in ("models/a.bin", "features/a.npy"):
        Path(path).unlink()
    adopt()
    assert is_void("features/a.npy") and not is_void("models/b.bin")


def test_a_file_that_is_stale_no_more_is_known_again():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    make_here("models/a.bin", "new")
    adopt()
    assert is_void("features/a.npy")
    write("models/a.bin", "old")
    adopt()
    assert not is_void("features/a.npy")


def test_a_second_look_changes_nothing():
    share("models/a.bin", "weights")
    share("models/absent.bin", "weights")
    share("results/t.csv", "table", "models/a.bin")
    Path("models/absent.bin").unlink()
    make_here("features/a.npy", "features", "models/a.bin")
    write("cas/stranger.csv", "x")
    adopt()
    before = snapshot()
    adopt()
    assert snapshot() == before


def test_a_second_look_at_stale_files_leaves_the_same_bytes():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    make_here("models/a.bin", "new")
    adopt()
    before = snapshot(states=False)
    adopt()
    assert snapshot(states=False) == before


def test_a_file_whose_job_ended_at_an_odd_time_settles():
    """Times lose digits on the way to the disk; that must not touch a file again and again."""
    record = share("models/a.bin", "weights")
    told = {**record.snakemake, "endtime": 1_712_345_678.123456789}
    write_record(record.model_copy(update={"snakemake": told}), SHARED)
    adopt()
    before = snapshot()
    adopt()
    assert snapshot() == before


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(names | st.text("abc/._-", min_size=150, max_size=300), min_size=1, max_size=4))
@example(["x" * 189])
@example(["x" * 190])
@example(["x" * 191])
@example(["x" * 381, "y"])
def test_metadata_lies_where_snakemake_looks(parts):
    """Long names go on in folders, short ones do not; compared with Snakemake's own naming."""
    snakemake = object.__new__(FilePersistence)
    snakemake._max_len = None
    METADATA.mkdir(parents=True, exist_ok=True)
    path = "/".join(parts)
    assert str(metadata_file(path)) == snakemake._record_path(str(METADATA), path)


def test_snakemake_reads_what_was_written():
    """Its own reader, not ours, of names short and long."""
    snakemake = object.__new__(FilePersistence)
    snakemake._max_len, snakemake._metadata_path = None, str(METADATA)
    for path in ("models/a.bin", "data/lesions/" + "/".join(["deep" * 20] * 5) + "/b.npy"):
        record = share(path, "x")
        adopt()
        assert dict(snakemake._read_record(path).items()) == record.snakemake
