"""A few rounds of each kind of benchmarks/chaos.py, and that it sees what is wrong."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import chaos
from chaos_run import Violation

TABLE = "results/table_5_2.csv"


def test_files_that_differ_are_left_over_or_missing_are_wrong(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    for name in (TABLE, "results/table_5_2.json", "models/a.safetensors", "logs/a.log"):
        (quiet / name).parent.mkdir(parents=True, exist_ok=True)
        (quiet / name).write_text(name)
    run = Path(shutil.copytree(quiet, tmp_path / "run"))
    made = '{{"finished": "2026-11-{}T16:18:17+00:00", "commit": "{}"}}'
    (quiet / "results/table_5_2.json").write_text(made.format("28", "a" * 40))
    (run / "results/table_5_2.json").write_text(made.format("29", "b" * 40))
    (run / "logs/b.log").touch()
    chaos.compare(run, quiet)
    for name in ("models/.a-0123abcd.safetensors", "cas/a.csv"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
        with pytest.raises(Violation, match=f"left over or missing.*{name}"):
            chaos.compare(run, quiet)
        (run / name).unlink()
    (run / TABLE).write_text(TABLE.upper())
    with pytest.raises(Violation, match=f"not the quiet run's bytes.*{TABLE}"):
        chaos.compare(run, quiet)
    (run / TABLE).unlink()
    with pytest.raises(Violation, match=f"left over or missing.*{TABLE}"):
        chaos.compare(run, quiet)


@pytest.mark.slow
def test_rounds_of_each_kind(smoke_run: Path, programs: Path, tmp_path: Path) -> None:
    os.environ |= {"GIT_AUTHOR_NAME": "alice", "GIT_AUTHOR_EMAIL": "alice@example.org"}
    before = tree()
    kinds = chaos.prepare(tmp_path, programs, smoke_run, ("all",))
    rounds = [chaos.play(each, kinds, tmp_path, programs, 1, None) for each in range(len(kinds))]
    print(chaos.table(rounds))
    assert {each.kind for each in rounds} == {kind.name for kind in kinds}
    ends = Counter(each.end for each in rounds)
    assert not ends["wrong"], [each.remark for each in rounds if each.end == "wrong"]
    assert ends["missed"] < len(rounds) / 2
    assert tree() == before
    assert not list(tmp_path.glob("round-*/*"))


def tree() -> str:
    """What git sees in the project, ignored files too."""
    command = ["git", "status", "--porcelain", "--ignored"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
