"""What every rule has without saying so: a log, a benchmark and a digest of its code."""

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

UNTRACKED = {"download.py"}
"""Scripts without a digest: checksums judge downloads, and no edit may fetch 23 GB again."""


def complete(rule: Any, digest: Callable[[str], str]) -> None:
    """Give a rule of Snakemake what it does not set itself.

    Its log is `logs/<rule>/<wildcards>.log`, its benchmark lies beside that, and its parameter
    `code` is the digest of its script.
    """
    if not rule.script:
        return
    # In the order of the path, which Snakemake's own set of names does not keep.
    wildcards = dict.fromkeys(re.findall(r"\{(\w+)[,}]", str(rule.output[0])))
    place = "-".join(f"{{{name}}}" for name in wildcards)
    stem = f"logs/{rule.name}/{place}" if place else f"logs/{rule.name}"
    rule.log_modifier = rule.benchmark_modifier = rule.output_modifier
    if not rule.log:
        rule.set_log(f"{stem}.log")
    if not rule.benchmark:
        rule.benchmark = f"{stem}.benchmark.tsv"
    script = PurePath(rule.script).name
    if "code" not in rule.params.keys() and script not in UNTRACKED:
        rule.set_params(code=digest(script))
