"""Records go with one of Snakemake's two stores of metadata; the other is refused at once."""

from pathlib import Path

import pytest
from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.persistence.db import DbPersistence
from snakemake.persistence.file import FilePersistence
from snakemake.settings.enums import PersistenceBackend
from snakemake.settings.types import (
    ConfigSettings,
    OutputSettings,
    ResourceSettings,
    WorkflowSettings,
)

from conftest import ROOT, SMOKE
from meddiff.core.errors import MeddiffError
from meddiff.workflow.sharing.dag import check_lock, open_plan
from meddiff.workflow.sharing.options import parse_options

DATABASE = ["--persistence-backend", "db"]
NAMED = "--persistence-backend db"


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_by_api(backend: PersistenceBackend) -> None:
    """Plan the workflow from another program: no command line says which store it is."""
    with SnakemakeApi(OutputSettings(show_failed_logs=False)) as api:
        api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[SMOKE]),
            workflow_settings=WorkflowSettings(persistence_backend=backend),
            snakefile=ROOT / "workflow/Snakefile",
            workdir=Path.cwd(),
        ).dag().summary()


def test_however_snakemake_was_started(run, capsys):
    with pytest.raises(WorkflowError, match=NAMED) as caught:
        plan_by_api(PersistenceBackend.DB)
    assert "\n" not in str(caught.value).strip()
    assert not list(run.rglob("*.db"))
    plan_by_api(PersistenceBackend.FILE)
    assert "results/table_5_2.csv" in capsys.readouterr().out


def test_finished_results_can_be_verified_while_a_workflow_runs():
    target = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(SMOKE), "--", "audit"]
    FilePersistence()._write_locks("output", ["a.txt"])
    with open_plan(target, reading=True) as plan:
        assert plan.planned
    with pytest.raises(MeddiffError, match="snakemake --unlock"), open_plan(target):
        pass


def test_a_run_that_holds_the_lock_is_seen_in_one_store_and_the_other_is_refused():
    """Stores do not see each other's locks: two runs would write to one folder."""
    check_lock()
    store = FilePersistence()
    store._write_locks("output", ["a.txt"])
    assert not DbPersistence()._read_locks()
    with pytest.raises(MeddiffError, match="snakemake --unlock"):
        check_lock()
    with pytest.raises(MeddiffError, match=NAMED), open_plan(DATABASE):
        pass
    store._delete_locks()
    check_lock()


def test_a_lock_in_a_database_changes_nothing():
    """It was left by a run of another workflow in this folder, for none of ours gets that far."""
    DbPersistence()._write_locks("output", ["a.txt"])
    check_lock()
    with pytest.raises(MeddiffError, match=NAMED), open_plan(DATABASE):
        pass
    assert list(DbPersistence()._read_locks()) == [("output", "a.txt")]


def test_a_profile_that_asks_for_it_is_refused_too():
    Path("profile").mkdir()
    Path("profile/config.yaml").write_text("persistence-backend: db\n")
    assert parse_options(["--profile", "profile"]).persistence_backend.item_to_choice() == "db"
    with pytest.raises(MeddiffError, match=NAMED), open_plan(["--profile", "profile"]):
        pass
