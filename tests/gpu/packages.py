"""Say which packages the GPU lane lacks; what it needs is in pyproject.toml."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NEEDS = {"filelock", "lightning-fabric", "monai", "numpy", "pandas", "pydantic", "safetensors",
         "scipy", "threadpoolctl", "torch", "torchvision", "tqdm", "hypothesis", "pytest",
         "pytest-timeout"}  # fmt: skip
TORCH = (2, 9)


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    missing = []
    for line in lines:
        name = re.split(r"[^A-Za-z0-9_.-]", line)[0]
        if name not in NEEDS:
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(line)
            continue
        if name == "torch" and tuple(map(int, installed.split(".")[:2])) < TORCH:
            missing.append(f"torch>={'.'.join(map(str, TORCH))} (this is {installed})")
    if missing:
        sys.exit(f"the GPU lane needs {', '.join(missing)}")


if __name__ == "__main__":
    main()
