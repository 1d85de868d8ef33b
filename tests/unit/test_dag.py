"""Snakemake's plan of a command line, on a workflow of one rule."""

from importlib.metadata import version
from pathlib import Path

import pytest
from snakemake.logging import logger

from meddiff.core.errors import MeddiffError
from meddiff.workflow.sharing.dag import in_run_directory, open_plan
from meddiff.workflow.sharing.options import check_options, parse_options

SNAKEFILE = """
rule a:
    output: "a.txt"
    params: x=config.get("level", 0)
    shell: "touch {output}"
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("workflow").mkdir()
    Path("workflow/Snakefile").write_text(SNAKEFILE)
    Path("runs/mine").mkdir(parents=True)
    return tmp_path


def test_a_target_in_a_run_directory_is_planned_there(project):
    with open_plan(["runs/mine/a.txt"]) as plan:
        assert (plan.root, plan.run) == (project, project / "runs/mine")
        assert plan.targets == ("a.txt",) and plan.steps[0].params == {"x": 0}
    with in_run_directory(["runs/mine/a.txt"]) as (root, run, targets):
        assert (root, run, targets) == (project, project / "runs/mine", ["a.txt"])


def test_it_is_planned_with_the_profile_of_that_directory(project):
    profile = Path("profiles/some/config.yaml")
    profile.parent.mkdir(parents=True)
    profile.write_text("directory: runs/mine\nconfig:\n  level: 7\n")
    with open_plan(["runs/mine/a.txt"]) as plan:
        assert plan.run == project / "runs/mine" and plan.steps[0].params == {"x": 7}


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (["--config", "level=1"], True),
        (["--config", "rebuild=true"], False),
        (["--config", "level=1", "--directory", "runs/mine"], False),
        ([], False),
    ],
)
def test_another_configuration_in_the_root_is_warned_of(options, warned, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(logger, "warning", lines.append)
    check_options(parse_options(options))
    assert ["--directory" in line for line in lines] == [True] * warned


def test_what_snakemake_reports_to_users_is_one_error():
    with pytest.raises(MeddiffError, match=r"b\.txt"), open_plan(["b.txt"]):
        pass


def test_a_malformed_value_is_one_error():
    with pytest.raises(MeddiffError, match="--config"), open_plan(["--config", "1"]):
        pass


def test_a_bug_of_a_rule_keeps_its_traceback_and_names_the_version():
    Path("workflow/Snakefile").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError) as caught, open_plan([]):
        pass
    assert version("snakemake") in "".join(caught.value.__notes__)


def test_a_snakemake_without_a_private_name_is_named_by_its_version(monkeypatch):
    monkeypatch.delattr("snakemake.workflow.Workflow._build_dag")
    with pytest.raises(AttributeError, match="_build_dag") as caught, open_plan([]):
        pass
    assert version("snakemake") in "".join(caught.value.__notes__)
