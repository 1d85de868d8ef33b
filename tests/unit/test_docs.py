"""The pages: their commands exist as they stand there, and they build as a site."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from conftest import ROOT, Run
from meddiff.cli.main import COMMANDS, build_parser
from meddiff.core.errors import MeddiffError
from meddiff.extractors.settings import PretrainedName
from meddiff.workflow.conventions import AUDITED, AUDITED_BY_NETS
from meddiff.workflow.sharing.options import parse_options

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config/README.md",
         ROOT / "results/README.md", *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip
CLI = ROOT / "src/meddiff/cli"
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```", re.S | re.M)
OTHERS = {
    "git",
    "docker",
    "apptainer",
    "pip",
    "cd",
    ".",
    "dvc",
    "kubectl",
    "sbatch",
    "export",
    "uv",
}
"""Programs that are not ours: nothing of theirs is looked at."""


def commands() -> list[tuple[str, str]]:
    """Every command of a page with the page's name, lines that go on put together."""
    headings = []
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text()):
            lines = re.sub(r"\s*\\\n\s*(?:> )?", " ", text).splitlines()
            if kind == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            headings += [(page.name, line) for line in lines if line.strip(" #")]
    return headings


def words(line: str) -> list[str]:
    """Words of a command without its comment, environment and pipe."""
    parts = shlex.split(line, comments=True)
    for mark in ("|", "&&", ";", ">", "2>"):
        parts = parts[: parts.index(mark)] if mark in parts else parts
    while parts and re.fullmatch(r"[A-Z_]+=.*", parts[0]):
        parts.pop(0)
    return parts


def parts_of(parts: list[str], option: str) -> list[str]:
    """Words that an option takes which takes several."""
    if option not in parts:
        return []
    following = parts[parts.index(option) + 1 :]
    ends = [place for place, part in enumerate(following) if part.startswith("--")]
    return following[: ends[0]] if ends else following


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_of_a_page_is_one(page: str, line: str) -> None:
    parts = words(line)
    if not parts or "[--" in line:
        pytest.skip("a comment or a synopsis")
    program = Path(parts[0]).name or parts[0]
    if program == "meddiff":
        options, rest = build_parser().parse_known_args(parts[1:])
        assert COMMANDS[options.command].takes_targets or not rest
        if rest:
            parse_options(rest)
    elif program == "snakemake":
        options = parse_options(parts[1:])
        # What takes several words takes a target that follows it, too.
        assert all(str(file).endswith((".yaml", ".yml")) for file in options.configfile or [])
        assert all("=" in str(entry) for entry in parts_of(parts, "--config"))
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert {part for part in parts[1:] if "=" not in part} <= set(targets)
    elif program.startswith("python") and parts[1] != "-m":
        assert (ROOT / parts[1]).is_file()
    elif program == "pytest" or parts[1:3] == ["-m", "pytest"]:
        files = [part.split("::")[0] for part in parts[1:] if part.startswith("tests/")]
        assert all((ROOT / file).exists() for file in files)
    elif program.endswith(".sh"):
        assert (ROOT / parts[0]).is_file()
    else:
        assert program in OTHERS, f"{page}: {program}"


def test_a_command_that_is_none_is_seen() -> None:
    for line in ("meddiff evaluat a b", "meddiff evaluate a b --sice 3"):
        with pytest.raises((SystemExit, AssertionError, MeddiffError)):
            test_a_command_of_a_page_is_one("page", line)
    for line in (
        "snakemake --configfile a.yaml results/b.csv",
        "make dmeo",
        "python benchmarks/none.py",
        "unknown x",
    ):
        with pytest.raises(AssertionError):
            test_a_command_of_a_page_is_one("page", line)


def named(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_pages_name_what_the_code_has() -> None:
    """Lists in pages that people write, beside what they list."""
    nets, commands = set(get_args(PretrainedName)), {path.stem for path in CLI.glob("*.py")}
    takes = re.search(r"`--extractor` takes (.*?)\.\n?", page("docs/results.md"), re.S)
    assert takes and nets - named(takes[1]) == {"inception"}
    shown = re.search(r"^ +pretrained: .*# (.*)$", page("config/config.yaml"), re.M)
    assert shown and set(shown[1].split(", ")) == nets
    floor = re.search(r"^\| 6 \| `cli/` \|(.*)$", page("docs/architecture.md"), re.M)
    parts = commands - {"__init__", "__main__", "main", "evaluate_options"}
    assert floor and named(floor[1]) >= parts
    audit = page("docs/data.md").split("\n## The audit\n")[1].split("\nOn the demo")[0]
    assert {name.removesuffix(".csv") for name in named(audit) if name.endswith(".csv")} == {
        *AUDITED
    }
    slices = re.search(r"^\| `data.folder.slices` .*$", page("config/README.md"), re.M)
    assert slices and "or a number" in slices[0]


def page(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_result_of_a_rule_is_described() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    files = set(re.findall(r'"results/([\w/]+\.(?:csv|html))"', rules))
    files |= {f"{name}.csv" for name in re.findall(r'\bresult\("(\w+)"', rules)}
    files |= {f"audit/{name}.csv" for name in AUDITED | AUDITED_BY_NETS}
    text = page("results/README.md")
    assert len(files) > 20
    assert {name for name in files if Path(name).name not in text} == set()
    listed = set(re.findall(r"^\| `(audit/\w+\.csv)`", text, re.M))
    assert listed == {name for name in files if name.startswith("audit/")}
    remark = re.search(r"\(those of.*?both\)", text, re.S)
    assert remark
    without = {f"audit/{Path(name).name}" for name in named(remark[0]) if name.endswith(".csv")}
    assert without - {"audit/comparison.csv"} <= listed


def test_what_is_published_was_tested_once_with_the_locks_versions() -> None:
    flows = {
        path.name: yaml.safe_load(path.read_text())
        for path in (ROOT / ".github/workflows").glob("*.yml")
    }
    release = flows["release.yml"]["jobs"]
    tests = {name for name, job in release.items() if job.get("uses", "").endswith("/ci.yml")}
    # YAML 1.1 reads `on` as true.
    assert tests and "workflow_call" in flows["ci.yml"][True]
    publishing = [job for job in release.values() if "write" in job.get("permissions", {}).values()]
    assert len(publishing) == 2
    assert all(tests <= set(job["needs"]) for job in publishing)
    steps = [step.get("run", "") for flow in flows.values() for job in flow["jobs"].values()
             for step in job.get("steps", [])]  # fmt: skip
    # test-all begins with the fast tests.
    assert len([run for run in steps if re.search(r"make .*\btest\b", run)]) == 1
    for run in steps:
        if "mkdocs-material" in run:
            assert "--constraint requirements.txt" in run
    for event in ("push", "pull_request"):
        paths = flows["docs.yml"][True][event]["paths"]
        assert {"**.md", "docs/**", "mkdocs.yml", "requirements.txt"} <= set(paths)


@pytest.mark.slow
def test_the_demos_targets_of_the_pages_are_made_by_rules(snakemake: Run, tmp_path: Path) -> None:
    targets = set()
    for _, line in commands():
        parts = words(line)
        if parts and Path(parts[0]).name == "snakemake":
            options = parse_options(parts[1:])
            other = (
                options.directory or options.configfile or options.config or "--profile" in parts
            )
            targets |= set() if other else set(options.targets)
    assert len(targets) > 5
    # The shell of a user expands braces.
    echo = subprocess.run(
        ["bash", "-c", f"echo {' '.join(targets)}"], capture_output=True, check=True
    )
    targets = set(echo.stdout.decode().split())
    snakemake(tmp_path, "--dry-run", "--quiet", "all", "--", *sorted(targets), configs=())


@pytest.mark.slow
def test_the_pages_build_as_a_site(tmp_path: Path) -> None:
    """Strictly: a link or a heading that is not there ends it. Nothing is fetched."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.parent.name for path in tmp_path.rglob("index.html")}
    assert {"api", "study", "readers", "architecture", "configuration"} <= pages
    fetched = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="https?:')
    assert not [path for path in tmp_path.rglob("*.html") if fetched.search(path.read_text())]
