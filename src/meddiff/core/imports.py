"""Imports of libraries that may be absent, or import many others of which nothing here is used.

MONAI imports all of itself and whatever it may use somewhere; Lightning imports torchmetrics where
it is installed. That takes a job several seconds.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from meddiff.core.errors import MeddiffError

AFFECTS_RESULTS = False

OPTIONAL = ("torchvision", "torchmetrics", "matplotlib", "skimage", "sklearn", "scipy",
            "scipy.signal", "scipy.ndimage", "scipy.stats", "cv2", "boto3")  # fmt: skip
"""What MONAI and Lightning import if it is there, and do without for all that is used of them."""

EXTRAS = {
    **dict.fromkeys(("kaggle", "kagglesdk", "lightning_fabric",
                     "monai", "snakemake", "snakemake_interface_common", "yaml"), "workflow"),
    "dvc": "share",
    "rocrate": "export",
}  # fmt: skip
"""Modules that `pip install meddiff` leaves out, and the extra that brings them."""

_alone = False


def missing_extra(error: ModuleNotFoundError) -> MeddiffError | None:
    """Return an error that says which extra to install; None for a module that none brings."""
    extra = EXTRAS.get((error.name or "").split(".")[0])
    if extra is None:
        return None
    return MeddiffError(
        f"this needs the package {error.name}, which is not installed: pip install "
        f"'meddiff[{extra}]' (what is installed does for `meddiff evaluate`)"
    )


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Turn the lack of a package within the block into one line that says which extra has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MeddiffError(
            f"{what} needs the package {error.name}, which is not installed: pip install "
            f"'meddiff[{extra}]'"
        ) from error


def leave_out_optional() -> None:
    """Let `lean_imports` take effect in this process.

    Only a program of this project may say so: other code would find a MONAI without torchvision.
    """
    global _alone
    _alone = True


@contextmanager
def lean_imports() -> Iterator[None]:
    """Let imports within the block do as if `OPTIONAL` were not installed.

    What is imported already stays, and what is imported after the block is there again.
    """
    absent = [name for name in OPTIONAL if _alone and name not in sys.modules]
    # The import system's own way to say so: None makes an import raise ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
