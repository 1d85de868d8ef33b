"""What every section of the configuration shares.

Each phase declares its own settings in a `settings.py` beside the code that reads them. These files
hold values and their limits only: what a job reads reaches it as parameters.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    TypeAdapter,
    model_validator,
)


def without_repeats(names: list[Any] | None) -> list[Any] | None:
    """Refuse a list that has a name twice."""
    if names and len(set(names)) < len(names):
        raise ValueError(f"repeat: {names}")
    return names


def as_text(value: Any) -> Any:
    """Take a whole number as text; explain what YAML reads as something else again."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        read, example = "null, ~ and nothing at all as no value", "null"
    elif isinstance(value, bool):
        words = ("yes", "on and true") if value else ("no", "off and false")
        read, example = f"{', '.join(words)} as a truth value", words[0]
    elif isinstance(value, float | date):
        read, example = f"this as a {type(value).__name__}", str(value)
    else:
        return value
    raise ValueError(f'text is needed, and YAML reads {read}: put it in quotes, as in "{example}"')


def number_or(word: str, what: str) -> Callable[[Any], Any]:
    """Return a check for a number of 1 or more, or a word; a union reports each part's error."""

    def check(value: Any) -> Any:
        if value == word:
            return value
        try:
            if isinstance(value, bool):
                raise ValueError
            return TypeAdapter(PositiveInt).validate_python(value)
        except ValueError:
            raise ValueError(f"give {what}, 1 or more, or {word}") from None

    return check


Text = Annotated[str, BeforeValidator(as_text)]
"""Text that may look like a whole number."""
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
SplitName = Literal["train", "validation", "test"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$"), BeforeValidator(as_text)]


class Settings(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_differ_as_text(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, Mapping) and len({*map(str, value)}) < len(value):
                raise ValueError(f"{name} has a key twice, with and without quotes: {[*value]}")
        return values


class DurationSettings(Settings):
    """Length of a training: either epochs or optimiser steps."""

    epochs: PositiveInt | None = None
    """Passes over the training images; null where `steps` is given."""
    steps: PositiveInt | None = None
    """Optimiser steps; null where `epochs` is given."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "DurationSettings":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps, and null for the other")
        return self


class ComputeSettings(Settings):
    """Where and how networks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes a GPU where torch sees one."""
    threads: PositiveInt = 1
    """CPU threads per network. Set here, not by `--cores`: it changes the last bits of tables."""
    processes: PositiveInt = 1
    """Processes that train a DDPM together, each on a GPU of its own, or on the CPU."""
    nodes: PositiveInt = 1
    """Machines with that many processes each; more than one needs Slurm."""
    compile: bool = False
    """Compile DDPMs with torch.compile: takes a minute or two, then they train and sample faster.
    Changes results by rounding."""
    checkpoint_minutes: float = Field(default=10, ge=0)
    """Minutes between saved states, from which a killed training or sampling resumes."""
    tensorboard: bool = False
    """Write the trainings' curves and previews to `logs/tensorboard`; needs tensorboardX."""
