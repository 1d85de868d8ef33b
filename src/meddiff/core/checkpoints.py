"""Weights on disk: safetensors, never pickle, with metadata from which the net is built."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import check_readable, remedy
from meddiff.core.files import atomic_write

if TYPE_CHECKING:
    # A job that only reads metadata starts without torch.
    from torch import Tensor

Content = TypeVar("Content")

NAME_ANOTHER = "name another file, or ask its author for a new copy"
"""What to do about a checkpoint that this workflow did not make."""


def save_checkpoint(
    path: str | Path,
    weights: "Mapping[str, Tensor]",
    metadata: Mapping[str, Any],
    *,
    quiet: bool = False,
) -> None:
    """Write weights, with `metadata` as JSON in the file's metadata; no log if `quiet`."""
    from safetensors.torch import save_file

    contiguous = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    header = {"meddiff": json.dumps(metadata, sort_keys=True)}
    with atomic_write(path, quiet=quiet) as temporary:
        save_file(contiguous, temporary, metadata=header)


def load_checkpoint(path: str | Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Return weights and their metadata."""
    return _read(path, lambda file: {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a checkpoint without reading its weights."""
    return _read(path, lambda file: None, "np")[1]


def wrong_checkpoint(path: str | Path, wanted: str, error: Exception) -> MeddiffError:
    """Return the error for a checkpoint of something else than what is wanted."""
    otherwise = remedy(path, NAME_ANOTHER)
    return MeddiffError(f"{path} holds no {wanted} ({one_line(error, 300)}): {otherwise}")


def _read(
    path: str | Path, read: Callable[[Any], Content], framework: str = "pt"
) -> tuple[Content, dict[str, Any]]:
    check_readable(path)
    if not Path(path).exists():
        raise MeddiffError(f"there is no checkpoint {path}: name another, or run the workflow")
    try:
        with safe_open(path, framework=framework) as file:
            metadata = json.loads((file.metadata() or {})["meddiff"])
            if not isinstance(metadata, dict):
                raise ValueError("its metadata are no JSON object")
            return read(file), metadata
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise MeddiffError(
            f"{path} is no checkpoint of this workflow, or a damaged one ({one_line(error, 300)}): "
            + remedy(path, NAME_ANOTHER)
        ) from error
