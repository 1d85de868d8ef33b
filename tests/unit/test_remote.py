"""DVC's remotes: what is wrong with one stops a command before anything is fetched or pushed."""

import subprocess
import sys
from pathlib import Path

import pytest

from meddiff.core.errors import MeddiffError
from meddiff.workflow.sharing.remote import STORED, check_remote


def dvc(*arguments: str | Path) -> int:
    command = [sys.executable, "-m", "dvc", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run directory inside a project with the configuration of DVC that a test writes."""
    run = tmp_path / "project/runs/mine"
    run.mkdir(parents=True)
    (tmp_path / "project/.git").mkdir()
    (tmp_path / "project/.dvc").mkdir()
    monkeypatch.chdir(run)
    return run


def configure(run: Path, **remotes: str) -> None:
    """Remotes by name, the first one the default."""
    lines = [f"[core]\n    remote = {next(iter(remotes))}"] if remotes else []
    lines += [f"['remote \"{name}\"']\n    url = {url}" for name, url in remotes.items()]
    (run / "../../.dvc/config").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("needs", [STORED, ".", ".."])
@pytest.mark.parametrize("kind", ["absolute", "relative", "file"])
def test_a_folder_that_is_not_mounted_is_named(run, tmp_path, needs, kind):
    folder = tmp_path / "disk/store"
    url = {"absolute": folder, "relative": "../../disk/store", "file": f"file://{folder}"}[kind]
    configure(run, shelf=str(url))
    with pytest.raises(MeddiffError, match="shelf") as caught:
        check_remote(run, None, needs=needs)
    assert str(folder) in str(caught.value) and not folder.parent.exists()
    folder.mkdir(parents=True)
    if needs == STORED:  # the place where a disk is to be mounted is there, and empty
        with pytest.raises(MeddiffError, match="shelf"):
            check_remote(run, None, needs=STORED)
        (folder / "files/md5").mkdir(parents=True)
    check_remote(run, None, needs=needs)


def test_a_folder_for_a_first_share_need_not_be_there(run, tmp_path):
    configure(run, store=str(tmp_path / "store"))
    check_remote(run, None, needs="..")


def test_the_remote_that_is_asked_for_is_the_one_that_counts(run, tmp_path):
    configure(run, away="s3://bucket/path", shelf=str(tmp_path / "disk/store"))
    check_remote(run, None, needs=STORED)
    check_remote(run, "away", needs=STORED)
    with pytest.raises(MeddiffError, match="shelf"):
        check_remote(run, "shelf", needs=STORED)
    with pytest.raises(MeddiffError, match=r"nowhere.*away, shelf"):
        check_remote(run, "nowhere", needs=STORED)


def test_without_a_remote_it_is_said_how_to_add_one(run):
    configure(run)
    with pytest.raises(MeddiffError, match="dvc remote add"):
        check_remote(run, None, needs="..")


def test_a_pull_brings_what_is_shared_where_not_every_table_is(run, tmp_path, monkeypatch):
    """As docs/sharing.md says: DVC counts a stage that is not in dvc.lock as an error."""
    project = tmp_path / "project"
    monkeypatch.chdir(project)
    (project / ".git").rmdir()
    (project / ".dvc").rmdir()
    stage = "  {0}:\n    cmd: 'true'\n    outs:\n      - {0}.csv:\n          persist: true\n"
    (project / "dvc.yaml").write_text("stages:\n" + stage.format("one") + stage.format("two"))
    (project / "one.csv").write_text("1\n")
    assert dvc("init", "--no-scm", "--quiet") == 0
    assert dvc("remote", "add", "--default", "store", tmp_path / "store") == 0
    assert dvc("commit", "--force", "one") == 0
    assert dvc("push", "one") == 0
    (project / "one.csv").unlink()
    assert dvc("pull") == 1
    assert dvc("pull", "--allow-missing") == 0
    assert (project / "one.csv").read_text() == "1\n"
