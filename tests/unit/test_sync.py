"""Snakemake's metadata are what the records have of the bytes that are here, and nothing else."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.io import IOFile
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file
from meddiff.workflow.provenance.digests import CACHE
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import (
    LOCAL,
    SHARED,
    read_effective,
    read_records,
    write_record,
)
from meddiff.workflow.sharing.sync import keep_metadata, plan_unrecorded, sync_metadata

METADATA, INCOMPLETE = Path(".snakemake/metadata"), Path(".snakemake/incomplete")
ENDED = 1_700_000_000.25
OURS = [SimpleNamespace(is_producer=lambda path: True)]


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metadata_file(path: str, folder: Path = METADATA) -> Path:
    """Where Snakemake keeps what it remembers of a file."""
    snakemake = object.__new__(FilePersistence)
    snakemake._max_len = 255
    return Path(snakemake._record_path(str(folder), path))


def read_metadata(path: str) -> dict | None:
    try:
        return json.loads(metadata_file(path).read_text())
    except (OSError, ValueError):
        return None


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
    write(str(metadata_file(path)), json.dumps(make_metadata(path)))
    return record


def is_void(path: str) -> bool:
    """Whether Snakemake finds parameters that no rule has, which it reads without complaint."""
    metadata = MetadataRecord.model_validate(read_metadata(path))
    return bool(metadata.params) and metadata.params != make_metadata(path)["params"]


def edited(*names: str) -> list[str]:
    """Lines of the message, which ends with the remedies."""
    with pytest.raises(MeddiffError) as caught:
        sync_metadata()
    lines = str(caught.value).splitlines()
    for line, name in zip(lines[: len(names)], names, strict=True):
        assert line.startswith(f"{name} ") and "bytes" in line
    return lines[len(names) :]


def snapshot(*, states: bool = True) -> dict:
    """Every file of the run and of Snakemake with its bytes, and with time and inode."""
    return {
        path: (path.read_bytes(), (path.stat().st_mtime_ns, path.stat().st_ino) if states else None)
        for path in Path().rglob("*")
        if path.is_file() and not path.is_relative_to(CACHE)
    }


def test_a_shared_file_gets_its_metadata_and_the_time_at_which_its_job_ended():
    record = share("models/a.bin", "weights")
    assert sync_metadata() == {"models/a.bin": record}
    assert read_metadata("models/a.bin") == record.snakemake
    assert Path("models/a.bin").stat().st_mtime == ENDED
    assert Path("models/a.bin").read_text() == "weights"
    assert read_records(LOCAL) == {"models/a.bin": record}


def test_a_shared_file_that_is_not_here_gets_its_metadata():
    """Snakemake then knows what its job was, and needs no bytes of what nothing reads."""
    record = share("models/a.bin", "weights")
    Path("models/a.bin").unlink()
    sync_metadata()
    assert read_metadata("models/a.bin") == record.snakemake
    assert not Path("models/a.bin").exists()
    assert not LOCAL.exists()


def test_without_records_nothing_is_written():
    write("config.yaml", "seed: 1")
    assert sync_metadata() == {}
    assert not Path(".snakemake").exists()


def test_shared_bytes_win_over_what_snakemake_remembered_of_others():
    share("models/a.bin", "weights")
    write(str(metadata_file("models/a.bin")), '{"params": ["old"]}')
    sync_metadata()
    assert not is_void("models/a.bin")


def test_a_file_that_was_shared_by_hand_has_no_metadata():
    write_record(describe_file(write("data/raw/x.zip", "raw")), SHARED)
    sync_metadata()
    assert read_metadata("data/raw/x.zip") is None


def test_an_edited_shared_file_stops_the_run_with_its_remedy():
    share("results/t.csv", "1.0")
    write("results/t.csv", "2.0")
    [remedy] = edited("results/t.csv")
    assert "`meddiff restore --replace results/t.csv`" in remedy
    assert Path("results/t.csv").read_text() == "2.0"


def test_an_adopted_file_that_was_edited_afterwards_stops_the_run():
    share("results/t.csv", "1.0")
    sync_metadata()
    write("results/t.csv", "2.0")
    assert len(edited("results/t.csv")) == 1
    write("results/t.csv", "1.0")
    sync_metadata()


def test_an_edited_own_file_stops_the_run_with_its_remedy():
    make_here("results/t.csv", "1.0")
    write("results/t.csv", "2.0")
    [remedy] = edited("results/t.csv")
    assert re.search(r"\bmove\b.*: results/t\.csv$", remedy)
    Path("results/t.csv").unlink()
    sync_metadata()


def test_every_edited_file_is_named_on_its_own_line():
    for name in ("a", "b", "c"):
        share(f"models/{name}", "x")
    for name in ("c", "a"):
        write(f"models/{name}", "y")
    [remedy] = edited("models/a", "models/c")
    assert "`meddiff restore --replace models/a models/c`" in remedy


def test_shared_and_own_files_that_were_edited_have_remedies_of_their_own():
    share("models/b", "x")
    for name in ("a", "c"):
        make_here(f"models/{name}", "x")
    for name in ("a", "b", "c"):
        write(f"models/{name}", "y")
    of_shared, of_own = edited("models/a", "models/b", "models/c")
    assert "`meddiff restore --replace models/b`" in of_shared
    assert re.search(r"\bmove\b.*: models/a models/c$", of_own)


def test_an_edit_that_keeps_the_size_is_found():
    share("models/a.bin", "weights")
    sync_metadata()
    write("models/a.bin", "WEIGHTS")
    with pytest.raises(MeddiffError, match=r"models/a\.bin"):
        sync_metadata()


def test_what_was_made_here_may_differ_from_what_is_shared():
    share("models/a.bin", "theirs")
    mine = make_here("models/a.bin", "mine")
    metadata = make_metadata("models/a.bin")
    own = LOCAL / "models/a.bin.json"
    before = {path: state for path, state in snapshot().items() if path != own}
    sync_metadata()
    assert read_metadata("models/a.bin") == metadata
    assert all(snapshot()[path] == state for path, state in before.items())
    assert read_records(LOCAL) == {"models/a.bin": mine.model_copy(update={"snakemake": metadata})}


def test_what_snakemake_wrote_is_kept_once():
    """Later metadata, e.g. of --touch, tell nothing of how the file was made."""
    make_here("models/a.bin", "mine")
    sync_metadata()
    before = snapshot()
    later = {**make_metadata("models/a.bin"), "params": ["later"], "endtime": ENDED + 99}
    write(str(metadata_file("models/a.bin")), json.dumps(later))
    sync_metadata()
    assert read_metadata("models/a.bin") == make_metadata("models/a.bin")
    assert snapshot(states=False) == {path: (data, None) for path, (data, _) in before.items()}


def test_the_end_of_a_run_keeps_what_snakemake_wrote_in_it():
    make_here("models/a.bin", "A")
    make_here("models/b.bin", "B")
    mark_incomplete("models/b.bin")
    keep_metadata()
    kept = {path: record.snakemake for path, record in read_records(LOCAL).items()}
    assert kept == {"models/a.bin": make_metadata("models/a.bin"), "models/b.bin": None}


def test_a_file_that_is_made_again_has_the_metadata_of_its_new_job():
    make_here("models/a.bin", "old")
    sync_metadata()
    make_here("models/a.bin", "new")
    later = {**make_metadata("models/a.bin"), "params": ["later"], "endtime": ENDED + 99}
    write(str(metadata_file("models/a.bin")), json.dumps(later))
    sync_metadata()
    assert read_metadata("models/a.bin") == later
    assert read_records(LOCAL)["models/a.bin"].snakemake == later


def lose(file: Path) -> None:
    file.unlink()


def touch_metadata(file: Path) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "params": ["'0ther'"]}))


def break_off(file: Path) -> None:
    file.write_text(file.read_text()[:-9])


@pytest.mark.parametrize("change", [lose, touch_metadata, break_off])
@pytest.mark.parametrize("origin", [share, make_here])
def test_metadata_that_were_lost_or_touched_come_back_from_the_record(origin, change):
    origin("models/a.bin", "weights")
    origin("features/a.npy", "features", "models/a.bin")
    sync_metadata()
    before = snapshot(states=False)
    change(metadata_file("models/a.bin"))
    assert read_metadata("models/a.bin") != make_metadata("models/a.bin")
    sync_metadata()
    assert read_metadata("models/a.bin") == make_metadata("models/a.bin")
    assert snapshot(states=False) == before


@pytest.mark.parametrize("change", [lose, break_off])
def test_a_file_made_here_whose_metadata_were_lost_at_once_is_planned(change):
    """Nobody can tell any more what Snakemake knew, so that it could not see an edit."""
    record = make_here("models/a.bin", "weights")
    change(metadata_file("models/a.bin"))
    sync_metadata()
    assert is_void("models/a.bin")
    [reason] = read_metadata("models/a.bin")["params"]
    assert "lost" in reason
    assert read_records(LOCAL) == {"models/a.bin": record}
    before = snapshot()
    sync_metadata()
    assert snapshot() == before


def test_a_recorded_file_that_is_gone_needs_no_metadata():
    make_here("models/a.bin", "weights")
    Path("models/a.bin").unlink()
    metadata_file("models/a.bin").unlink()
    sync_metadata()
    assert read_metadata("models/a.bin") is None


def test_what_was_shared_anew_does_not_make_the_old_file_an_edited_one():
    """After a pull: the file has the bytes of its first record, and stays until it is replaced."""
    old = share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    sync_metadata()
    status = Path("models/a.bin").stat()
    superseding = share("models/a.bin", "new").model_copy(update={"author": "B <b@b.c>"})
    write_record(superseding, SHARED)
    write("models/a.bin", "old")
    os.utime("models/a.bin", ns=(status.st_atime_ns, status.st_mtime_ns))
    sync_metadata()
    assert Path("models/a.bin").read_text() == "old"
    assert Path("models/a.bin").stat().st_mtime_ns == status.st_mtime_ns
    assert read_effective()["models/a.bin"] == old
    assert not is_void("models/a.bin") and not is_void("features/a.npy")
    write("models/a.bin", "new")
    sync_metadata()
    assert read_effective()["models/a.bin"] == superseding
    assert is_void("features/a.npy"), "made from the old model"


def test_a_file_that_was_never_adopted_is_an_edited_one_where_other_bytes_are_shared():
    """Nothing tells that it was the former shared one."""
    share("models/a.bin", "new")
    write("models/a.bin", "old")
    assert len(edited("models/a.bin")) == 1


RAW = "data/raw/published/x.zip"


def put_by_hand(text: str) -> Record:
    record = describe_file(write(RAW, text))
    write_record(record, SHARED)
    return record


@pytest.mark.parametrize("adopted", [True, False])
def test_an_archive_that_was_put_there_anew_voids_what_was_made_from_the_old(adopted):
    put_by_hand("old")
    share("models/a.bin", "weights", RAW)
    share("models/b.bin", "other")
    share("features/a.npy", "features", "models/a.bin")
    if adopted:
        sync_metadata()
        assert RAW in read_records(LOCAL) and not is_void("models/a.bin")
    write(RAW, "new")
    for _ in range(2):
        sync_metadata()
        assert RAW not in read_records(LOCAL) and RAW not in read_effective()
        assert Path(RAW).read_text() == "new" and read_metadata(RAW) is None
        [reason] = read_metadata("models/a.bin")["params"]
        assert f"another {RAW}" in reason
        assert not is_void("models/b.bin") and not is_void("features/a.npy")


def test_the_old_archive_put_back_is_the_shared_one_again():
    old = put_by_hand("old")
    share("models/a.bin", "weights", RAW)
    sync_metadata()
    before = snapshot(states=False)
    write(RAW, "new")
    sync_metadata()
    write(RAW, "old")
    sync_metadata()
    assert read_effective()[RAW] == old and not is_void("models/a.bin")
    assert snapshot(states=False) == before


def test_an_archive_that_a_rule_makes_is_not_replaced_by_hand():
    share(RAW, "drawn")
    sync_metadata()
    write(RAW, "other")
    assert len(edited(RAW)) == 1


def test_shared_bytes_that_took_the_place_of_own_ones_are_adopted():
    make_here("models/a.bin", "mine")
    record = share("models/a.bin", "theirs")
    sync_metadata()
    assert read_metadata("models/a.bin") == record.snakemake
    assert Path("models/a.bin").stat().st_mtime == ENDED
    assert read_records(LOCAL) == {"models/a.bin": record}


@pytest.mark.parametrize("path", ["models/a.bin", "results/x/y.csv", "data/images/train/b.npy"])
def test_a_stranger_is_never_taken_for_a_result(path):
    write(path, "from somewhere")
    plan_unrecorded(OURS)
    assert is_void(path)
    assert "not made" in read_metadata(path)["params"][0]


@pytest.mark.parametrize(
    "path", ["data/raw/published/x.zip", "models/.gitkeep", "results/README.md", "config/x.yaml"]
)
def test_what_people_put_there_is_no_stranger(path):
    write(path, "mine")
    plan_unrecorded(OURS)
    assert read_metadata(path) is None


def test_what_rules_of_another_workflow_make_is_theirs():
    write("results/theirs.txt", "made")
    write("results/ours.csv", "from somewhere")
    plan_unrecorded([SimpleNamespace(is_producer=lambda path: path.endswith(".csv"))])
    assert read_metadata("results/theirs.txt") is None and is_void("results/ours.csv")


def test_a_stranger_loses_what_snakemake_remembered_of_it():
    """A file that was made, deleted with its record, and copied back from elsewhere."""
    make_here("models/a.bin", "weights")
    (LOCAL / "models/a.bin.json").unlink()
    sync_metadata()
    plan_unrecorded(OURS)
    assert is_void("models/a.bin")


def test_a_name_that_is_no_text_does_not_end_the_workflow():
    try:
        write(os.fsdecode(b"models/\xe4.bin"), "x")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    plan_unrecorded(OURS)


def mark_incomplete(path: str) -> None:
    write(str(metadata_file(path, INCOMPLETE)), '{"external_jobid": null}')


def test_what_a_broken_job_left_is_snakemakes_business():
    share("models/a.bin", "weights")
    make_here("models/b.bin", "weights")
    for path in ("models/a.bin", "models/b.bin", "models/c.bin"):
        write(path, "half")
        mark_incomplete(path)
    before = snapshot()
    sync_metadata()
    assert snapshot() == before


def test_what_was_made_from_other_inputs_is_planned():
    make_here("models/a.bin", "old")
    make_here("features/a.npy", "features", "models/a.bin")
    sync_metadata()
    assert not is_void("features/a.npy")
    make_here("models/a.bin", "new")
    sync_metadata()
    assert is_void("features/a.npy") and not is_void("models/a.bin")
    [reason] = read_metadata("features/a.npy")["params"]
    assert "another models/a.bin" in reason


def test_shared_files_of_inputs_that_were_made_anew_are_planned_though_neither_is_here():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    share("models/b.bin", "other")
    make_here("models/a.bin", "new")
    for path in ("models/a.bin", "features/a.npy"):
        Path(path).unlink()
    sync_metadata()
    assert is_void("features/a.npy") and not is_void("models/b.bin")


def test_a_file_that_is_stale_no_more_is_known_again():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    make_here("models/a.bin", "new")
    sync_metadata()
    assert is_void("features/a.npy")
    write("models/a.bin", "old")
    sync_metadata()
    assert not is_void("features/a.npy")


@pytest.mark.parametrize("origin", [share, make_here])
def test_void_metadata_give_way_to_those_of_the_record(origin):
    """There and back, whether the file was adopted before its input was made anew or never."""
    share("models/a.bin", "old")
    origin("features/a.npy", "features", "models/a.bin")
    sync_metadata()
    file = metadata_file("features/a.npy")
    before, states = file.read_bytes(), snapshot()[Path("features/a.npy")]
    for _ in range(2):
        make_here("models/a.bin", "new")
        sync_metadata()
        assert is_void("features/a.npy") and file.read_bytes() != before
        write("models/a.bin", "old")
        sync_metadata()
        assert file.read_bytes() == before
        assert snapshot()[Path("features/a.npy")] == states


def test_what_was_stale_at_first_sight_has_its_metadata_kept_all_the_same():
    make_here("models/a.bin", "old")
    old = read_records(LOCAL)["models/a.bin"]
    make_here("features/a.npy", "features", "models/a.bin")
    make_here("models/a.bin", "new")
    sync_metadata()
    assert is_void("features/a.npy")
    write_record(old, LOCAL)
    write("models/a.bin", "old")
    sync_metadata()
    assert read_metadata("features/a.npy") == make_metadata("features/a.npy")


def test_a_second_look_changes_nothing():
    share("models/a.bin", "weights")
    share("models/absent.bin", "weights")
    share("results/t.csv", "table", "models/a.bin")
    Path("models/absent.bin").unlink()
    make_here("features/a.npy", "features", "models/a.bin")
    write("cas/stranger.csv", "x")
    sync_metadata()
    plan_unrecorded(OURS)
    before = snapshot()
    sync_metadata()
    plan_unrecorded(OURS)
    assert snapshot() == before


def test_a_second_look_at_stale_files_leaves_the_same_bytes():
    share("models/a.bin", "old")
    share("features/a.npy", "features", "models/a.bin")
    make_here("models/a.bin", "new")
    sync_metadata()
    before = snapshot(states=False)
    sync_metadata()
    assert snapshot(states=False) == before


def test_a_file_whose_job_ended_at_an_odd_time_settles():
    """Times lose digits on the way to the disk; that must not touch a file again and again."""
    record = share("models/a.bin", "weights")
    fields = {**record.snakemake, "endtime": 1_712_345_678.123456789}
    write_record(record.model_copy(update={"snakemake": fields}), SHARED)
    sync_metadata()
    before = snapshot()
    sync_metadata()
    assert snapshot() == before


@pytest.mark.parametrize("length", [1, 20, 189, 190, 191, 240])
def test_snakemake_reads_what_was_written(length):
    """Its own reader, of names short and long."""
    path = f"data/images/{'x' * length}/b.npy"
    record = share(path, "x")
    sync_metadata()
    assert dict(FilePersistence().metadata(IOFile(path)).items()) == record.snakemake


def test_a_record_that_snakemake_could_not_read_is_named():
    record = share("models/a.bin", "weights")
    metadata = {**record.snakemake, "starttime": "x"}
    write_record(record.model_copy(update={"snakemake": metadata}), SHARED)
    with pytest.raises(MeddiffError, match=r"provenance/models/a\.bin\.json.*snakemake\.starttime"):
        sync_metadata()
