"""A run that a user may only read is planned and proven; options past records are refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.workflow.provenance.digests import folder_digest, sha256_here
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import LOCAL, write_record
from meddiff.workflow.sharing.dag import open_plan
from meddiff.workflow.sharing.metadata import NOTES
from meddiff.workflow.sharing.options import check_options, is_dry, parse_options
from meddiff.workflow.sharing.readonly import enter_stand_in, is_read_only
from meddiff.workflow.sharing.verify import verify
from plain_user import become_plain_user, plain_user

SOMEBODY = 1000
RAW = "data/raw/phantom/mednist/MedNIST.tar.gz"


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A run directory of somebody else with one recorded file."""
    if os.geteuid():
        pytest.skip("only root can make files of somebody else")
    run = tmp_path / "run"
    made = run / RAW
    made.parent.mkdir(parents=True)
    made.write_bytes(b"archive")
    monkeypatch.chdir(run)
    write_record(describe_file(RAW).model_copy(update={"rule": "draw_mednist"}), LOCAL)
    give_away(run)
    return run


def give_away(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, SOMEBODY, SOMEBODY)


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    answers = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.stat()
        answers[str(path)] = (status.st_mtime_ns, status.st_size, status.st_uid)
    return answers


def test_a_proof_only_reads(theirs, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = state_of(theirs)
    lines = []
    with plain_user(), open_plan([RAW, "--directory", str(theirs)], reading=True) as plan:
        assert plan.run == theirs and RAW in plan.producers
        assert verify(plan, cell=None, as_json=True, origin=None, say=lines.append) == 0
    assert state_of(theirs) == before
    assert '"proven": true' in lines[0]


def test_a_dry_run_only_reads_and_a_run_says_why_it_cannot(theirs, tmp_path):
    """As users start them: without a folder that can be written to, the home directory included."""
    before = state_of(theirs)
    command = [Path(sys.executable).with_name("snakemake"), "--directory", theirs, RAW]
    closed = tmp_path / "home"
    closed.mkdir()
    os.chown(closed, SOMEBODY, SOMEBODY)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(closed)},
            preexec_fn=become_plain_user,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    planned = run("--dry-run")
    assert planned.returncode == 0, planned.stdout
    assert "draw_mednist" in planned.stdout  # its metadata are lost, and the record has none
    refused = run("--cores", "1")
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    assert str(theirs) in refused.stdout and "meddiff verify" in refused.stdout
    assert state_of(theirs) == before and not list(closed.iterdir())


def test_an_own_run_is_not_read_only(tmp_path):
    assert not is_read_only(tmp_path)
    (tmp_path / ".snakemake/metadata").mkdir(parents=True)
    assert not is_read_only(tmp_path)


@pytest.mark.parametrize("place", [".", ".snakemake", ".snakemake/metadata", ".snakemake/iocache"])
def test_one_folder_that_cannot_be_written_to_is_enough(theirs, place):
    for folder in ("metadata", "iocache"):
        (theirs / ".snakemake" / folder).mkdir()
    with plain_user():
        assert is_read_only(theirs)
    for path in [theirs, *theirs.rglob("*")]:
        os.chown(path, os.geteuid(), os.getegid())
    with plain_user():
        assert not is_read_only(theirs)
        if place != ".":
            (theirs / place).chmod(0o555)
            assert is_read_only(theirs)


def test_the_stand_in_shows_the_run_and_keeps_its_notes_apart(theirs):
    metadata = theirs / ".snakemake/metadata"
    metadata.mkdir()
    (metadata / "file").write_text("{}")
    before = state_of(theirs)
    enter_stand_in(theirs, planning=True)
    assert Path.cwd() != theirs and sha256_here(RAW) == sha256_here(theirs / RAW)
    # Snakemake takes what cannot be written to for protected, but no link; it looks at both times.
    assert Path(RAW).is_symlink()
    assert Path(RAW).lstat().st_mtime_ns == (theirs / RAW).stat().st_mtime_ns
    assert Path(".snakemake/metadata/file").read_text() == "{}"
    Path(".snakemake/metadata/file").write_text("changed")
    write_record(describe_file(RAW), LOCAL)
    assert state_of(theirs) == before


def test_nothing_is_run_in_a_stand_in(theirs):
    with pytest.raises(MeddiffError, match=str(theirs)):
        enter_stand_in(theirs, planning=False)
    assert Path.cwd() == theirs


def test_records_that_cannot_be_read_are_named(theirs):
    (theirs / LOCAL).chmod(0o700)
    with plain_user(), pytest.raises(MeddiffError, match=str(LOCAL)):
        enter_stand_in(theirs, planning=True)


def test_notes_of_snakemake_that_cannot_be_read_are_told_by_the_records(theirs):
    """Snakemake writes them for their owner alone."""
    metadata, marker = NOTES / "metadata/a", NOTES / "incomplete/b"
    for note in (theirs / metadata, theirs / marker):
        note.parent.mkdir(exist_ok=True)
        note.write_text('{"endtime": 1.0}')
        note.chmod(0o600)
    give_away(theirs)
    with plain_user():
        enter_stand_in(theirs, planning=True)
    assert not metadata.exists() and marker.exists()


def test_digests_are_computed_where_they_cannot_be_noted(theirs):
    shutil.rmtree(theirs / ".snakemake")
    with plain_user():
        assert len(sha256_here(RAW)) == len(folder_digest("data")) == 64
    assert not (theirs / ".snakemake").exists()


REFUSED = [
    ["--persistence-backend", "db"],
    ["--drop-metadata"],
    ["--ignore-incomplete"],
    ["--no-hooks"],
    ["--rerun-triggers", "mtime"],
    ["--rerun-triggers", "params", "input", "code"],
    ["--shared-fs-usage", "none"],
    ["--shared-fs-usage", "persistence", "sources"],
]


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_an_option_that_goes_past_the_records_is_refused_by_name(options, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(MeddiffError, match=options[0]) as caught:
        check_options(parse_options(options))
    assert "\n" not in str(caught.value)
    with pytest.raises(MeddiffError, match=options[0]), open_plan(options):
        pass


@pytest.mark.parametrize("profile", [None, "profiles/thesis", "profiles/thesis-leak-free"])
def test_our_own_profiles_and_usual_options_are_not(profile, monkeypatch):
    monkeypatch.chdir(ROOT)
    usual = ["-n", "--cores", "1", "--keep-going", "--forcerun", "split", "--rerun-incomplete"]
    check_options(parse_options([*usual, *(["--profile", profile] if profile else [])]))


@pytest.mark.parametrize(
    "options", ["-n", "--summary", "--rulegraph", "--dag", "--list-rules", "--list-changes input"]
)
def test_what_runs_nothing_is_known(options, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert is_dry(parse_options(options.split()))
    assert not is_dry(parse_options(["--cores", "1"])) and not is_dry(None)


def test_snakemake_itself_refuses_them(tmp_path, snakemake):
    done = snakemake(tmp_path, "-n", RAW, "--drop-metadata", check=False)
    assert done.returncode == 1 and "--drop-metadata would" in done.stdout
    assert "Traceback" not in done.stdout
