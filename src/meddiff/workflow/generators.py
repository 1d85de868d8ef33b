"""Settings of the generators that are compared: by name a path, or a path per class."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter

from meddiff.core.settings import ClassName, Text, as_text

AFFECTS_RESULTS = False

THIS_RUN = "this_run"
"""Stands for the run's own images in place of a path; their name where none is set."""
REFERENCES = ("real", "noise")
"""What stands beside generators in their table."""


def _one_path_or_several(value: Any) -> Any:
    """Decide here: a union would report each alternative's error."""
    if isinstance(value, Mapping):
        return TypeAdapter(dict[ClassName, Text]).validate_python(value)
    if not isinstance(text := as_text(value), str):
        raise ValueError(f"give a path, a path per class, or {THIS_RUN}")
    return text


Paths = Annotated[Text | dict[ClassName, Text], BeforeValidator(_one_path_or_several)]


def _differ(generators: dict[str, Any]) -> dict[str, Any]:
    own = [name for name, paths in generators.items() if paths == THIS_RUN]
    if len(own) > 1:
        raise ValueError(f"{' and '.join(own)} are both {THIS_RUN}: name it once")
    taken = [*REFERENCES, *([THIS_RUN] if own != [THIS_RUN] else [])]
    if wrong := [name for name in generators if name in taken]:
        raise ValueError(f"{wrong[0]} stands for other rows of the table: take another name")
    return generators


Generators = Annotated[dict[ClassName, Paths], AfterValidator(_differ)]


def check_classes(generators: Mapping[str, Any], classes: Collection[str]) -> None:
    """Refuse a generator with paths of other classes than these.

    Raises:
        ValueError: names the first one.
    """
    for name, paths in generators.items():
        if not isinstance(paths, Mapping):
            continue
        if missing := [one for one in classes if one not in paths]:
            raise ValueError(f"generators.{name} lacks {', '.join(missing)}: give a path of each")
        if others := [one for one in paths if one not in classes]:
            raise ValueError(f"generators.{name} names {', '.join(others)}, not in data.classes")
