"""Errors of the configuration as lines that name the key."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

AFFECTS_RESULTS = False


def describe(fault: Mapping[str, Any], config: type[BaseModel]) -> str:
    """Return one line on an error of pydantic: the key, its value, and what is allowed there."""
    location = fault["loc"]
    if location[-1:] == ("[key]",) and fault["type"] != "extra_forbidden":
        # The key itself is invalid: pydantic appends "[key]", and reports the key as the value.
        location = location[:-2]
    key = ".".join(map(str, location))
    if fault["type"] == "extra_forbidden":
        fields = _fields_at(config, location[:-1])
        # Not part of the model: `take_rebuild` removes it first.
        allowed = ", ".join(fields if len(location) > 1 else [*fields, "rebuild"])
        places = [place for place in _places(config, location[-1]) if place != key]
        hint = f"; did you mean {' or '.join(places[:3])}?" if places else ""
        return f"configuration: unknown key {key}; allowed there: {allowed}{hint}"
    message = fault["msg"].removeprefix("Value error, ")
    value = fault["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" = {value!r}"
    return f"configuration: {key}{shown}: {message}" if key else f"configuration: {message}"


def _places(model: type[BaseModel], name: Any, prefix: str = "") -> Iterator[str]:
    """Yield where the configuration has a key of that name, dictionaries of sections apart."""
    for key, field in model.model_fields.items():
        if key == name:
            yield prefix + key
        annotation = field.annotation
        parts = () if get_origin(annotation) is dict else get_args(annotation)
        for nested in _sections_of(annotation, *parts):
            yield from _places(nested, name, f"{prefix}{key}.")


def _sections_of(*annotations: Any) -> list[type[BaseModel]]:
    return [part for part in annotations if isinstance(part, type) and issubclass(part, BaseModel)]


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        if field := model.model_fields.get(str(part)):
            annotation = field.annotation
            model = next(iter(_sections_of(annotation, *get_args(annotation))), model)
    return list(model.model_fields)
