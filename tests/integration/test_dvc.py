"""`dvc.yaml` beside the workflow: in step with it, and useful to DVC's own commands."""

import json

import pytest
import yaml
from collaboration import TABLE, new_project

from conftest import ROOT
from meddiff.workflow.sharing.dag import open_plan

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TABLES = {name: f"results/{name}.csv" for name in STAGES}


def test_stages_hold_the_outputs_of_their_tables(tmp_path):
    with open_plan([*TABLES.values(), "--directory", str(tmp_path)]) as plan:
        for name, table in TABLES.items():
            stage = STAGES[name]
            declared = [next(iter(out)) for key in ("outs", "metrics") for out in stage[key]]
            assert sorted(declared) == sorted(plan.producers[table].outputs)
            assert stage["cmd"].endswith(f"snakemake --cores 1 {table}")
            flags = [next(iter(out.values())) for key in ("outs", "metrics") for out in stage[key]]
            assert all(flag == {"persist": True} for flag in flags)


@pytest.fixture(scope="module")
def shared(smoke_run, programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dvc")
    project = new_project(folder / "alice", smoke_run, programs)
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", folder / "store")
    program = project.root / ".venv/bin"
    program.parent.mkdir()
    program.symlink_to(programs)
    project.meddiff("share")
    project.commit("Share")
    return project


@pytest.mark.slow
class TestCommands:
    def test_nothing_to_tell_after_a_share(self, shared):
        assert "up to date" in shared.run("dvc", "status").stdout
        assert "didn't change" in shared.run("dvc", "repro", "table_5_2").stdout

    def test_a_changed_value_its_numbers_and_its_plots(self, shared):
        shared.configure("cas: {batch_size: 8}")
        status = shared.run("dvc", "status").stdout
        assert "table_5_3" in status and "config/config.yaml" in status
        assert "cas.batch_size" in shared.run("dvc", "params", "diff").stdout
        shared.run("dvc", "repro", "table_5_3")
        # Snakemake knows which tables read the value.
        assert "Nothing to be done" in shared.run("dvc", "repro", "table_5_2").stdout
        metrics = json.loads(shared.run("dvc", "metrics", "diff", "--json", "--all").stdout)
        assert "synthetic" in json.dumps(metrics)
        output = shared.run("dvc", "plots", "diff").stdout
        page = shared.root / "dvc_plots/index.html"
        assert page.is_file(), output
        text = page.read_text()
        for title in ("Training loss of the DDPMs", "figures_cas_arms", "SkinLesNet"):
            assert title in text

    def test_repro_on_a_clone_rebuilds_nothing(self, shared, tmp_path):
        bob = shared.clone(tmp_path / "bob")
        bob.git("checkout", "--quiet", "main")
        (bob.root / ".venv").mkdir()
        (bob.root / ".venv/bin").symlink_to((shared.root / ".venv/bin").resolve())
        stopped = bob.run("dvc", "repro", "table_5_2", check=False)
        assert stopped.returncode != 0 and "meddiff restore" in stopped.stdout
        assert bob.files() == set()
        bob.meddiff("restore", TABLE)
        # DVC runs it since the table is not in its cache; Snakemake knows better.
        assert "Nothing to be done" in bob.run("dvc", "repro", "table_5_2").stdout
