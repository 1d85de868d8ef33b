"""What docs/metrics.md says of the metrics holds."""

import re
from pathlib import Path

import pytest

from meddiff import metrics

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example):
    exec(compile(example, "docs/metrics.md", "exec"), {})


def test_there_are_three_examples():
    assert len(EXAMPLES) == 3


def test_the_table_names_every_public_function():
    named = {
        name
        for line in PAGE[PAGE.index("| Function") :].split("\n\n")[0].splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named == {name for name in metrics.__all__ if name.islower()}
