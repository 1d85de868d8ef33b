"""Say which packages a GPU's Python lacks for the tests, or with `study` for `make study-gpu`."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NEEDS = {"filelock", "lightning-fabric", "monai", "numpy", "pandas", "pydantic", "safetensors",
         "scipy", "threadpoolctl", "torch", "torchvision", "tqdm", "hypothesis", "pytest",
         "pytest-timeout"}  # fmt: skip
NOT_FOR_STUDY = {"dvc", "kaggle"}
"""Nothing is fetched or shared there."""
TORCH = (2, 9)


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    study = sys.argv[1:] == ["study"]
    lines = project["project"]["dependencies"]
    if not study:
        lines = [*lines, *project["dependency-groups"]["dev"]]
    missing = []
    for line in lines:
        name = re.split(r"[^A-Za-z0-9_.-]", line)[0]
        if name in NOT_FOR_STUDY if study else name not in NEEDS:
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(line)
            continue
        if name == "torch" and tuple(map(int, installed.split(".")[:2])) < TORCH:
            missing.append(f"torch>={'.'.join(map(str, TORCH))} (this is {installed})")
    if missing:
        sys.exit(f"{sys.executable} lacks {', '.join(missing)}: carry their wheels to it")


if __name__ == "__main__":
    main()
