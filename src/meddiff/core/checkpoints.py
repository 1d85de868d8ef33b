"""Weights on disk: safetensors, never pickle, with a note that tells how to build the net."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from meddiff.core.errors import MeddiffError
from meddiff.core.files import atomic_write, check_readable, remedy

NAME_ANOTHER = "name another file, or have it written again by whoever made it"
"""What to do about a checkpoint that this workflow did not make."""


def save_checkpoint(
    path: str | Path,
    weights: Mapping[str, Tensor],
    about: Mapping[str, Any],
    *,
    quiet: bool = False,
) -> None:
    """Write weights, with `about` as JSON in the file's metadata; no log if `quiet`."""
    contiguous = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    metadata = {"meddiff": json.dumps(about, sort_keys=True)}
    with atomic_write(path, quiet=quiet) as temporary:
        save_file(contiguous, temporary, metadata=metadata)


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return weights and what it says of them.

    Raises:
        MeddiffError: the file is missing, may not be read, is truncated, or no checkpoint of ours.
    """
    check_readable(path)
    if not Path(path).exists():
        raise MeddiffError(f"there is no checkpoint {path}: name another, or run the workflow")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["meddiff"])
            if not isinstance(about, dict):
                raise ValueError("its note is no JSON object")
            return {key: file.get_tensor(key) for key in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise MeddiffError(
            f"{path} is no checkpoint of this workflow, or a damaged one ({reason}): "
            + remedy(path, NAME_ANOTHER)
        ) from error
