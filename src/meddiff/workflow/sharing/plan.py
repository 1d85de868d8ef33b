"""What a workflow would do, as plain data: its steps, and which of them are shared already."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from meddiff.workflow.provenance.record import Record, Records


@dataclass(frozen=True)
class PlanStep:
    """One job of the workflow with its present parameters."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, Any]
    planned: bool
    """Whether Snakemake would run it."""
    gpu: bool = False
    """Whether it asks for a GPU."""


@dataclass(frozen=True)
class Plan:
    """The steps behind some targets, each after those that it depends on."""

    root: Path
    """The project's root, where the Snakefile is."""
    run: Path
    """The run directory, where all other paths start."""
    steps: tuple[PlanStep, ...]
    targets: tuple[str, ...]
    config: Mapping[str, Any]
    """The merged configuration."""
    overlays: bool
    """Whether it is more than config/config.yaml."""
    _shared: dict[int, tuple[Records, dict[str, bool]]] = field(default_factory=dict, repr=False)

    @cached_property
    def producers(self) -> dict[str, PlanStep]:
        """The step that makes each file."""
        return {path: step for step in self.steps for path in step.outputs}

    @property
    def planned(self) -> list[PlanStep]:
        """The steps that Snakemake would run and that make something."""
        return [step for step in self.steps if step.planned and step.outputs]

    def is_shared(self, step: PlanStep, records: Records) -> bool:
        """Return whether a step's outputs are recorded and up to date.

        That is so where rule, inputs and parameters are those of the records, and the same holds of
        each step before it.
        """
        # The records are kept with the results: their id may otherwise be another's later.
        _, results = self._shared.setdefault(id(records), (records, {}))
        key = step.outputs[0] if step.outputs else step.rule
        if key not in results:
            results[key] = bool(step.outputs) and not any(self.differences(step, records))
        return results[key]

    def differences(self, step: PlanStep, records: Records) -> Iterator[str]:
        """Yield why a step is not shared, in a few words per reason."""
        if missing := [path for path in step.outputs if path not in records]:
            yield f"{', '.join(missing)} has no record"
            return
        yield from dict.fromkeys(
            reason
            for path in step.outputs
            for reason in self._record_differences(step, records[path], records)
        )

    def _record_differences(
        self, step: PlanStep, record: Record, records: Records
    ) -> Iterator[str]:
        if record.rule is None:
            return  # added by hand: no rule would make the same
        yield from own_differences(step, record)
        for file in step.inputs:
            if file in record.inputs and file in self.producers:
                yield from self._input_differences(file, record, records)

    def _input_differences(self, file: str, record: Record, records: Records) -> Iterator[str]:
        if file in records and records[file].sha256 != record.inputs[file]:
            yield f"made from another {file}"
        elif not self.is_shared(self.producers[file], records):
            yield f"{file} would be made again"

    def upstream(self, targets: Iterable[str]) -> list[PlanStep]:
        """Return the steps that make the targets and all before them, first ones first."""
        wanted: set[str] = set()
        waiting = list(targets)
        while waiting:
            step = self.producers.get(waiting.pop())
            if step and step.outputs[0] not in wanted:
                wanted.add(step.outputs[0])
                waiting += step.inputs
        return [step for step in self.steps if step.outputs and step.outputs[0] in wanted]

    def required_files(self, targets: Iterable[str], shared: Records) -> list[str]:
        """Return the shared files that have to be here before Snakemake builds the targets.

        A shared target is required itself. One that has to be built requires its inputs, and so on.
        """
        required: dict[str, None] = {}
        visited: set[str] = set()
        waiting = sorted(targets, reverse=True)
        while waiting:
            path = waiting.pop()
            step = self.producers.get(path)
            if path in visited or step is None:
                continue
            visited.add(path)
            if self.is_shared(step, shared):
                required[path] = None
            elif step.planned:
                waiting += sorted(step.inputs, reverse=True)
        return list(required)


def own_differences(step: PlanStep, record: Record) -> Iterator[str]:
    """Yield how a step's rule, set of inputs and parameters differ from those of a record."""
    if record.rule != step.rule:
        yield f"rule {record.rule} is now {step.rule}"
        return
    for word, files in (
        ("no longer reads", set(record.inputs) - set(step.inputs)),
        ("now reads", set(step.inputs) - set(record.inputs)),
    ):
        if files:
            yield f"{step.rule} {word} {', '.join(sorted(files))}"
    for key, old, new in changes(record.params, step.params):
        yield (
            f"the code of {step.rule} changed"
            if key == "code"
            else f"{step.rule} {key}: {old} -> {new}"
        )


def changes(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two nested values as (dotted key, old, new)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(set(old) | set(new)):
            below = f"{key}.{name}" if key else name
            if name in old and name in new:
                yield from changes(old[name], new[name], below)
            else:
                yield below, old.get(name), new.get(name)
    elif old != new:
        yield key, old, new
