"""Run `snakemake --lint` and fail on every remark but the one on environments of single rules.

One locked environment serves all rules (requirements.txt), so that remark does not apply.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOWED = "Specify a conda environment or container for each rule."


def remarks() -> list[str]:
    """Return each remark as one line: where, and what."""
    snakemake = Path(sys.executable).with_name("snakemake")
    told = subprocess.run(
        [snakemake, "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found, where = [], ""
    for line in (told.stdout + told.stderr).splitlines():
        if heading := re.match(r"Lints for (.*):$", line):
            where = heading[1]
        elif (remark := re.match(r"\s+\* (.*):$", line)) and remark[1] != ALLOWED:
            found.append(f"{where}: {remark[1]}")
    if not found and "Lints for" not in told.stderr + told.stdout and told.returncode:
        found.append(f"snakemake --lint failed: {told.stderr[-500:]}")
    return found


if __name__ == "__main__":
    listed = remarks()
    print("\n".join(listed) or "snakemake --lint: no remarks")
    sys.exit(bool(listed))
