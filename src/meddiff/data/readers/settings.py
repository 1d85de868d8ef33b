"""Settings of how files are read."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Settings, Text, number_or

Percentage = Annotated[float, Field(ge=0, le=100)]
Slices = Annotated[
    Literal["middle"] | PositiveInt, BeforeValidator(number_or("middle", "a number of slices"))
]


class Reading(Settings):
    """How files are read."""

    patient_pattern: Text | None = None
    """Regular expression on an image's path below the folder: its first bracket, or the whole
    match, is the patient, e.g. `(sub-[0-9]+)`."""
    window: tuple[float, float] | None = None
    """Levels that become black and white in images of more than 8 bits, in Hounsfield units for CT;
    null: the file's window, else one for all images, chosen from their levels."""
    percentiles: tuple[Percentage, Percentage] | None = None
    """Such levels as percentiles of each file, where there is no `window`, e.g. `[1, 99]`."""
    slices: Slices = "middle"
    """Slices of a volume, or frames of a file: the `middle` one, or every k-th from the first."""
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    """Plane of the slices of a NIfTI volume."""

    @model_validator(mode="after")
    def _choices_are_usable(self) -> "Reading":
        for name in ("window", "percentiles"):
            ends = getattr(self, name)
            if ends and not ends[0] < ends[1]:
                raise ValueError(f"{name} {list(ends)}: the first must be below the second")
        if self.window and self.percentiles:
            raise ValueError("give either window or percentiles, and null for the other")
        try:
            re.compile(self.patient_pattern or "")
        except re.error as error:
            raise ValueError(
                f"patient_pattern {self.patient_pattern!r} is no regular expression ({error})"
            ) from None
        return self

    @property
    def windows(self) -> dict[str, tuple[float, float]]:
        """Window of all images of more than 8 bits, as `meddiff.data.readers.depth` takes it."""
        chosen = {"all": self.window, "percentiles": self.percentiles}
        return {name: ends for name, ends in chosen.items() if ends}


def choose(**choices: Any) -> Reading:
    """Return choices as Python or a command passes them; a MeddiffError names the one at fault."""
    try:
        return Reading.model_validate(choices)
    except ValidationError as error:
        faults = [
            "".join(f"{key}: " for key in fault["loc"][:1])
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        ]
        raise MeddiffError("; ".join(faults)) from None
