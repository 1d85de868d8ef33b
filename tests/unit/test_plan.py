"""A step is covered exactly where running it today would make what the records speak of."""

import copy
import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import ExecMode

from meddiff.core.errors import MeddiffError
from meddiff.workflow.config import load_config
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.session import check_jobs, end
from meddiff.workflow.sharing.plan import Plan, PlanStep, changes, own_differences

PARAMS: dict[str, dict[str, Any]] = {
    "draw": {"code": "d1", "seed": 0},
    "pack": {"code": "p1", "size": 64, "crop": None},
    "train": {"code": "t1", "settings": {"optimiser": {"rate": 1e-4, "decay": 0.0}, "epochs": 9}},
    "score": {"code": "s1", "classes": ["benign", "malignant"]},
    "table": {"code": "x1", "stamp": {"data": "phantom", "seed": 0}},
}
LINKS = {
    "draw": ([], ["raw.zip"]),
    "pack": (["raw.zip"], ["train.npy", "test.npy"]),
    "train": (["train.npy"], ["model.bin", "history.csv"]),
    "score": (["model.bin", "test.npy"], ["score.csv"]),
    "table": (["score.csv"], ["table.csv", "table.json"]),
}


def sha256(data: str) -> str:
    return hashlib.sha256(data.encode()).hexdigest()


def make_step(rule: str, *, planned: bool = True, **changed: Any) -> PlanStep:
    inputs, outputs = LINKS[rule]
    return PlanStep(
        rule=rule,
        inputs=changed.get("inputs", tuple(inputs)),
        outputs=tuple(outputs),
        params=changed.get("params", copy.deepcopy(PARAMS[rule])),
        planned=planned,
    )


def make_plan(*changed: PlanStep, planned: bool = True) -> Plan:
    """The five steps with some of them changed; Snakemake would run all, or only the changed."""
    by_rule = {step.rule: step for step in changed}
    steps = tuple(by_rule.get(rule) or make_step(rule, planned=planned) for rule in LINKS)
    return Plan(Path("/project"), Path("/project"), steps, ("table.csv",), {}, overlays=False)


def make_record(path: str, rule: str, inputs: list[str]) -> Record:
    return Record(
        path=path,
        sha256=sha256(path),
        md5="0" * 32,
        size=1,
        rule=rule,
        inputs={file: sha256(file) for file in inputs},
        params=copy.deepcopy(PARAMS[rule]),
        source="",
        commit=None,
        packages={},
        machine=None,
        author="A",
        started="",
        finished="",
    )


@pytest.fixture
def records():
    """Records of all that the plan's steps make."""
    return {
        path: make_record(path, rule, inputs)
        for rule, (inputs, outputs) in LINKS.items()
        for path in outputs
    }


def covered(plan: Plan, records: dict[str, Record]) -> list[str]:
    return [step.rule for step in plan.steps if plan.is_shared(step, records)]


def reasons(plan: Plan, records: dict[str, Record], rule: str) -> list[str]:
    (step,) = (step for step in plan.steps if step.rule == rule)
    return list(plan.differences(step, records))


def match_all(lines: Iterable[str], *patterns: str) -> None:
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.search(pattern, line), (line, pattern)


def test_what_is_as_it_was_is_covered(records):
    plan = make_plan()
    assert covered(plan, records) == list(LINKS)
    assert not any(reasons(plan, records, rule) for rule in LINKS)


def test_without_records_nothing_is_covered():
    assert covered(make_plan(), {}) == []
    match_all(reasons(make_plan(), {}, "draw"), r"^raw\.zip .*record")
    match_all(reasons(make_plan(), {}, "train"), r"^model\.bin, history\.csv .*record")


def with_param(rule: str, *keys: str, value: Any) -> PlanStep:
    params = copy.deepcopy(PARAMS[rule])
    branch = params
    for key in keys[:-1]:
        branch = branch[key]
    branch[keys[-1]] = value
    return make_step(rule, params=params)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (
            with_param("train", "settings", "optimiser", "rate", value=2e-4),
            r"^train settings\.optimiser\.rate: 0\.0001 -> 0\.0002$",
        ),
        (with_param("train", "settings", "epochs", value=8), r"^train settings\.epochs: 9 -> 8$"),
        (with_param("train", "new", value=1), "^train new: None -> 1$"),
        (with_param("train", "code", value="t2"), "code of train "),
    ],
)
def test_a_changed_parameter_is_named_and_uncovers_what_follows(records, step, reason):
    plan = make_plan(step)
    match_all(reasons(plan, records, "train"), reason)
    assert covered(plan, records) == ["draw", "pack"]
    match_all(reasons(plan, records, "score"), r"^model\.bin .*again")
    match_all(reasons(plan, records, "table"), r"^score\.csv .*again")


def test_a_removed_parameter_is_named(records):
    params = {key: value for key, value in PARAMS["pack"].items() if key != "size"}
    plan = make_plan(make_step("pack", params=params))
    assert reasons(plan, records, "pack") == ["pack size: 64 -> None"]
    assert covered(plan, records) == ["draw"]


def test_swapped_values_are_seen(records):
    """The same texts in another place are another job."""
    plan = make_plan(with_param("score", "classes", value=["malignant", "benign"]))
    assert covered(plan, records) == ["draw", "pack", "train"]
    optimiser = {"rate": 0.0, "decay": 1e-4}
    plan = make_plan(with_param("train", "settings", "optimiser", value=optimiser))
    assert reasons(plan, records, "train") == [
        "train settings.optimiser.decay: 0.0 -> 0.0001",
        "train settings.optimiser.rate: 0.0001 -> 0.0",
    ]


def test_another_rule_is_told_alone(records):
    records |= {p: records[p].model_copy(update={"rule": "fit"}) for p in LINKS["train"][1]}
    plan = make_plan(make_step("train", params={}))
    match_all(reasons(plan, records, "train"), r"^rule fit .*\btrain$")
    assert covered(plan, records) == ["draw", "pack"]


def test_what_was_put_there_by_hand_stays_whatever_its_rule_would_do(records):
    """An archive from elsewhere: no rule makes the same, so none runs over it."""
    records["raw.zip"] = records["raw.zip"].model_copy(update={"rule": None, "params": {}})
    plan = make_plan(with_param("draw", "seed", value=9))
    assert covered(plan, records) == list(LINKS)
    records["raw.zip"] = records["raw.zip"].model_copy(update={"sha256": sha256("another")})
    match_all(reasons(make_plan(), records, "pack"), r"another raw\.zip$")


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (("model.bin",), r"^score no .*test\.npy$"),
        (("model.bin", "test.npy", "train.npy"), r"^score now .*train\.npy$"),
    ],
)
def test_more_and_fewer_inputs_are_told(records, inputs, reason):
    plan = make_plan(make_step("score", inputs=inputs))
    match_all(reasons(plan, records, "score"), reason)
    assert covered(plan, records) == ["draw", "pack", "train"]


def test_the_order_of_inputs_is_no_difference(records):
    plan = make_plan(make_step("score", inputs=("test.npy", "model.bin")))
    assert covered(plan, records) == list(LINKS)


def test_an_input_recorded_with_other_bytes_uncovers_what_follows(records):
    records["model.bin"] = records["model.bin"].model_copy(update={"sha256": sha256("other")})
    plan = make_plan()
    match_all(reasons(plan, records, "score"), r"another model\.bin$")
    assert covered(plan, records) == ["draw", "pack", "train"]


def test_a_change_far_upstream_uncovers_everything(records):
    plan = make_plan(with_param("draw", "seed", value=1))
    assert covered(plan, records) == []
    match_all(reasons(plan, records, "table"), r"^score\.csv .*again")


@pytest.mark.parametrize("rule", LINKS)
def test_a_missing_record_uncovers_what_follows(records, rule):
    for path in LINKS[rule][1]:
        del records[path]
    order = list(LINKS)
    assert covered(make_plan(), records) == order[: order.index(rule)]


@pytest.mark.parametrize("path", ["history.csv", "table.json", "test.npy"])
def test_each_output_of_a_step_must_be_recorded(records, path):
    """Else a restore would want bytes that nobody has."""
    del records[path]
    plan = make_plan()
    step = plan.producers[path]
    [reason] = plan.differences(step, records)
    assert reason.startswith(f"{path} ") and "record" in reason
    assert set(plan.required_files([path], records)) <= set(records)


def test_each_output_of_a_step_must_be_of_its_present_parameters(records):
    """Merged branches can leave the checkpoint of one training beside the history of another."""
    params = copy.deepcopy(PARAMS["train"]) | {"seed": 7}
    records["history.csv"] = records["history.csv"].model_copy(update={"params": params})
    assert "train" not in covered(make_plan(), records)


def test_an_answer_holds_for_its_own_records_only(records):
    plan = make_plan()
    for _ in range(50):
        assert covered(plan, dict(records)) == list(LINKS)
        assert covered(plan, {}) == []


def test_a_step_without_outputs_is_never_covered(records):
    step = PlanStep("all", ("table.csv",), (), {}, planned=True)
    plan = replace(make_plan(), steps=(*make_plan().steps, step))
    assert not plan.is_shared(step, records)
    assert step not in plan.planned


def test_steps_behind_a_target_come_in_order():
    plan = make_plan()
    assert [step.rule for step in plan.upstream(["table.csv"])] == list(LINKS)
    assert [step.rule for step in plan.upstream(["history.csv"])] == ["draw", "pack", "train"]
    assert plan.upstream(["README.md"]) == []


def test_a_covered_target_alone_is_needed(records):
    plan = make_plan()
    for path in records:
        assert plan.required_files([path], records) == [path]
    assert plan.required_files(["table.csv", "table.json"], records) == ["table.csv", "table.json"]


@pytest.mark.parametrize(
    ("rule", "needed"),
    [
        ("draw", []),
        ("pack", ["raw.zip"]),
        ("train", ["test.npy", "train.npy"]),
        ("score", ["model.bin", "test.npy"]),
        ("table", ["score.csv"]),
    ],
)
def test_after_a_change_exactly_the_inputs_of_what_is_built_are_needed(records, rule, needed):
    plan = make_plan(with_param(rule, "code", value="new"))
    assert sorted(plan.required_files(["table.csv"], records)) == needed


def test_what_is_finished_here_needs_nothing(records):
    """An own table of other settings is there already; nothing is fetched behind it."""
    changed = replace(with_param("score", "code", value="new"), planned=False)
    plan = make_plan(changed, planned=False)
    assert plan.required_files(["table.csv"], records) == []


def test_behind_a_finished_step_nothing_is_needed(records):
    """Only the table is to be built: its score is finished here, so no model is fetched."""
    changed = replace(with_param("score", "code", value="new"), planned=False)
    plan = make_plan(changed, make_step("table"), planned=False)
    assert plan.required_files(["table.csv"], records) == []


def test_what_no_step_makes_is_not_needed(records):
    assert make_plan().required_files(["README.md"], records) == []


@settings(deadline=None)
@given(st.data())
def test_with_what_is_needed_here_each_job_finds_its_inputs(data):
    """Over random graphs, changes and finished files, against a build done step by step."""
    count = data.draw(st.integers(1, 8))
    names = [f"f{number}" for number in range(count)]
    steps, shared = [], {}
    for number, name in enumerate(names):
        inputs = data.draw(st.sets(st.sampled_from(names[:number]))) if number else set()
        change, planned = data.draw(st.sampled_from(["none", "code", "no record"])), True
        if data.draw(st.booleans()) and change != "none":
            planned = False
        params = {"code": "new" if change == "code" else "old"}
        steps.append(PlanStep(name, tuple(inputs), (name,), params, planned))
        if change != "no record":
            record = make_record(name, "draw", sorted(inputs))
            shared[name] = record.model_copy(update={"rule": name, "params": {"code": "old"}})
    plan = Plan(Path("/p"), Path("/p"), tuple(steps), (names[-1],), {}, overlays=False)
    here = set(plan.required_files(plan.targets, shared))
    assert here <= set(shared) and all(
        plan.is_shared(plan.producers[path], shared) for path in here
    )
    here |= {step.outputs[0] for step in steps if not step.planned}

    def build(path: str) -> None:
        if path not in here:
            step = plan.producers[path]
            assert not plan.is_shared(step, shared), "what is shared would be computed again"
            for file in step.inputs:
                build(file)
            here.add(path)

    build(names[-1])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([0.5, "", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=10,
)
json_objects = st.dictionaries(st.sampled_from("abc"), json_values)


@given(json_objects, json_objects)
def test_changes_are_told_exactly_where_values_differ(old, new):
    assert bool(list(changes(old, new))) == (old != new)
    assert list(changes(old, copy.deepcopy(old))) == []


@given(json_objects, json_objects)
def test_changes_back_and_forth_are_the_same(old, new):
    there = {(key, repr(a), repr(b)) for key, a, b in changes(old, new)}
    assert there == {(key, repr(b), repr(a)) for key, a, b in changes(new, old)}


def test_changes_name_the_innermost_key():
    old = {"a": {"b": {"c": 1, "d": [1, 2]}}, "e": 0}
    new = {"a": {"b": {"c": 2, "d": [2, 1]}}, "e": 0}
    assert list(changes(old, new)) == [("a.b.c", 1, 2), ("a.b.d", [1, 2], [2, 1])]


def test_own_differences_tell_everything_at_once(records):
    step = make_step("score", inputs=("model.bin", "x"), params={"code": "s2", "classes": []})
    match_all(
        own_differences(step, records["score.csv"]),
        r"^score no .*test\.npy$", r"^score now .*x$",
        r"^score classes: \['benign', 'malignant'\] -> \[\]$", "code of score ",
    )  # fmt: skip


def test_a_file_that_a_killed_job_left_is_made_again_and_one_from_elsewhere_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    step = PlanStep("pack", (), ("train.npy",), {}, planned=True)
    plan = Plan(tmp_path, tmp_path, (step,), ("train.npy",), {}, overlays=False)
    monkeypatch.setattr("meddiff.workflow.session.plan_of", lambda *_: plan)
    monkeypatch.setattr("meddiff.workflow.session.check_run", lambda *_: None)
    dag = SimpleNamespace(needrun_jobs=lambda: [])
    workflow = SimpleNamespace(
        dag=dag,
        dag_settings=SimpleNamespace(targets=["train.npy"]),
        resource_settings=SimpleNamespace(cores=1),
    )

    def check() -> None:
        check_jobs(workflow, load_config({}), tmp_path, {}, {"pack"}, rebuild=False)

    (tmp_path / "train.npy").write_bytes(b"half")
    with pytest.raises(MeddiffError, match=r"train\.npy"):
        check()
    # As Snakemake marks the outputs of a job that starts.
    FilePersistence()._mark_incomplete("train.npy", external_jobid=None)
    check()
    assert (tmp_path / "train.npy").read_bytes() == b"half"


@pytest.mark.parametrize(
    ("mode", "outputs", "says"),
    [
        (ExecMode.DEFAULT, ["results/table_5_2.csv", "results/report.html"], True),
        (ExecMode.DEFAULT, ["results/table_5_2.csv"], False),
        (ExecMode.DEFAULT, ["results/report.html", "left out by --until"], False),
        (ExecMode.SUBPROCESS, ["results/report.html"], False),
    ],
)
def test_a_run_ends_with_where_its_page_is(mode, outputs, says, tmp_path, monkeypatch):
    """Said once, by the process that planned the page, and not of a page of another run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    if "left out by --until" not in outputs:
        (tmp_path / "results/report.html").touch()
    lines = []
    monkeypatch.setattr("meddiff.workflow.session.logger", SimpleNamespace(info=lines.append))
    dag = SimpleNamespace(jobs=[SimpleNamespace(output=[path]) for path in outputs])
    end(SimpleNamespace(dag=dag, exec_mode=mode))
    assert [str(tmp_path / "results/report.html") in line for line in lines] == [True] * says
