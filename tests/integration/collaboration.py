"""A project as collaborators have it: clones of one repository, one DVC remote."""

import contextlib
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from conftest import ROOT, SMOKE, planned
from meddiff.workflow.conventions import FOLDERS
from meddiff.workflow.sharing.dag import open_plan
from meddiff.workflow.sharing.plan import PlanStep

OUTPUTS = tuple(name for name in FOLDERS if name != "logs")
TABLE = "results/table_5_2.csv"


STEPS = """
import json, sys
from meddiff.workflow.sharing.dag import open_plan
with open_plan(sys.argv[1:]) as plan:
    print(json.dumps([[s.rule, s.inputs, s.outputs, s.params, s.planned] for s in plan.steps]))
"""


def edited_outputs(before: Sequence[PlanStep], after: Sequence[PlanStep]) -> set[str]:
    """Return the outputs of jobs whose parameters or inputs an edit changed."""
    earlier = {path: (step.inputs, step.params) for step in before for path in step.outputs}
    return {
        path
        for step in after
        for path in step.outputs
        if earlier.get(path) != (step.inputs, step.params)
    }


def downstream(steps: Sequence[PlanStep], outputs: set[str]) -> set[str]:
    """Return the outputs that are made from some outputs, and those themselves."""
    outputs_after = set(outputs)
    for step in steps:
        if outputs_after & {*step.inputs, *step.outputs}:
            outputs_after |= set(step.outputs)
    return outputs_after


def planned_outputs(steps: Sequence[PlanStep]) -> set[str]:
    return {path for step in steps if step.planned for path in step.outputs}


def merge(base: dict, overlay: Mapping) -> dict:
    """Merge nested settings as Snakemake merges configuration files."""
    for key, value in overlay.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = merge(base[key], value) if nested else value
    return base


@dataclass(frozen=True)
class Clone:
    """One collaborator's working tree."""

    root: Path
    programs: Path
    env: Mapping[str, str]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess:
        """Run a program of the environment."""
        env = {**os.environ, **self.env}
        env["PATH"] = f"{self.programs}{os.pathsep}{env['PATH']}"
        done = subprocess.run(
            list(map(str, command)), cwd=self.root, env=env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-5000:]
        return done

    def meddiff(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("meddiff", *arguments, check=check)

    def snakemake(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("snakemake", *arguments, "--cores", "2", check=check)

    def fails(self, *arguments: str | Path) -> str:
        """Run a command of meddiff that must fail with plain lines; return them."""
        done = self.meddiff(*arguments, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout[-3000:]
        return "\n".join(line for line in done.stdout.splitlines() if line.startswith("error: "))

    def steps(self, *arguments: str) -> tuple[PlanStep, ...]:
        """Return all jobs behind targets, each after those that it depends on."""
        if "PYTHONPATH" not in self.env:
            with contextlib.chdir(self.root), open_plan(arguments) as plan:
                return plan.steps
        return tuple(
            PlanStep(rule, tuple(inputs), tuple(outputs), params, planned)
            for rule, inputs, outputs, params, planned in json.loads(
                self.run("python", "-c", STEPS, *arguments).stdout.splitlines()[-1]
            )
        )

    def planned(self, *arguments: str | Path) -> dict[str, int]:
        """Return the jobs that Snakemake plans, by rule."""
        with contextlib.chdir(self.root), open_plan(list(map(str, arguments))) as plan:
            return dict(Counter(step.rule for step in plan.steps if step.planned))

    def dry_run(self, *arguments: str | Path) -> dict[str, int]:
        """Return the same as Snakemake's command prints it."""
        return planned(self.snakemake(*arguments, "--dry-run").stdout)

    @property
    def edited(self) -> "Clone":
        """The same tree, whose programs run its own library: they take seconds to start."""
        return replace(self, env={**self.env, "PYTHONPATH": str(self.root / "src")})

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text that must stand in a file."""
        path = self.root / file
        text = path.read_text()
        assert old in text, f"{old!r} not in {file}"
        path.write_text(text.replace(old, new, 1))

    def configure(self, overlay: str) -> None:
        """Merge settings into config/config.yaml."""
        file = self.root / "config/config.yaml"
        merged = merge(yaml.safe_load(file.read_text()), yaml.safe_load(overlay))
        file.write_text(yaml.safe_dump(merged, sort_keys=False))

    def files(self) -> set[str]:
        """Return the outputs of the workflow that are here."""
        return {
            path.relative_to(self.root).as_posix()
            for name in OUTPUTS
            for path in (self.root / name).rglob("*")
            if path.is_file() and path.name != "README.md"
        }

    def clone(self, root: Path) -> "Clone":
        self.git("clone", "--quiet", str(self.root), str(root))
        return _signed(replace(self, root=root), root.name)


def new_project(
    root: Path, finished_run: Path, programs: Path, env: Mapping[str, str] | None = None
) -> Clone:
    """Return a repository with this project, at smoke scale, and a finished run of it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("runs/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    project = Clone(root, programs, env or {})
    project.git("init", "--quiet", "--initial-branch", "main")
    _signed(project, "alice")
    project.configure(SMOKE.read_text())
    project.commit("Start")
    for name in (*OUTPUTS, ".snakemake"):
        shutil.copytree(finished_run / name, root / name, dirs_exist_ok=True)
    return project


def _signed(project: Clone, name: str) -> Clone:
    project.git("config", "user.name", name)
    project.git("config", "user.email", f"{name}@example.org")
    return project
