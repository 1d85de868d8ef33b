"""The pages: their commands exist as they stand there, and they build as a site."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Run
from meddiff.cli.main import COMMANDS, build_parser
from meddiff.core.errors import MeddiffError
from meddiff.workflow.sharing.options import parse_options

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config/README.md",
         ROOT / "results/README.md", *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip
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
