"""Write `config/` from the settings: `python -m meddiff.workflow.config_files config`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml

from meddiff.core.settings import Section
from meddiff.workflow.config import Config


def default_yaml() -> str:
    """Return `config/config.yaml`: every key with its default, under its description."""
    head = (
        "# The demo's configuration. Written by `make config` from the settings in src/meddiff/.\n"
    )
    return head + "\n".join(_yaml_lines(Config(), 0)) + "\n"


def _yaml_lines(section: Section, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name in type(section).model_fields:
        value = getattr(section, name)
        description = (
            type(value).__doc__ if isinstance(value, Section) else _describe(section, name)
        )
        if depth == 0:
            yield ""
        yield from (f"{indent}# {line.strip()}" for line in (description or "").splitlines())
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, depth + 1)
        else:
            plain = section.model_dump(mode="json")[name]
            yield from (indent + line for line in _dump({name: plain}).splitlines())
            if (own := _alternative(type(section).model_fields[name].annotation)) is not None:
                lines = ["or, with any of these keys:", f"{name}:", *_yaml_lines(own, 1)]
                yield from (f"{indent}# {line}" for line in lines)


def _describe(section: Section, name: str) -> str:
    """Description of a field, inherited where a subclass changes only the default."""
    described = (
        c.model_fields[name].description
        for c in type(section).__mro__
        if issubclass(c, Section) and name in c.model_fields
    )
    return next((text for text in described if text), "")


def _dump(value: dict[str, Any]) -> str:
    """Nested mappings as a block, lists and scalars on one line."""
    [content] = value.values()
    style = False if isinstance(content, dict) and content else None
    text = yaml.safe_dump(value, sort_keys=False, width=1000, default_flow_style=style)
    return text[1:].removesuffix("}\n") if text.startswith("{") else text


def manual() -> str:
    """Return `config/README.md`: a table of every key with type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "Written by `make config` from the settings in `src/meddiff/`. `config.yaml` holds the",
        "demo's values; `thesis.yaml` overlays the study's. Make an overlay of your own with only",
        "the keys that differ and pass it with `--configfile`; unknown keys and wrong values stop",
        "the run before any job. `schema.json` gives completion in editors that read JSON schemas.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *_manual_rows(Config(), "")]) + "\n"


def _manual_rows(section: Section, prefix: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), prefix + name
        if isinstance(value, Section):
            yield f"| **`{key}`** | | **{' '.join((type(value).__doc__ or '').split())}** |"
            yield from _manual_rows(value, key + ".")
        else:
            shown = json.dumps(section.model_dump(mode="json")[name])
            meaning = " ".join(_describe(section, name).split()) + _choices(field.annotation)
            yield f"| `{key}` | `{shown}` | {meaning} |"
            if (own := _alternative(field.annotation)) is not None:
                yield from _manual_rows(own, key + ".")


def _choices(annotation: Any) -> str:
    options = [o for part in _parts(annotation) for o in get_args(part) if isinstance(o, str)]
    own = " or a mapping of the keys below" if _alternative(annotation) is not None else ""
    return f" One of {', '.join(f'`{o}`' for o in options)}{own}." if options else ""


def _alternative(annotation: Any) -> Section | None:
    """Return the defaults of the section that a field takes in place of a name, if it does."""
    parts = _parts(annotation)
    kinds = (p for p in parts if isinstance(p, type) and issubclass(p, Section))
    return next((kind() for kind in kinds if len(parts) > 1), None)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union; anything else is its own only part."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def generated() -> dict[str, str]:
    """Return the text of each generated file of `config/`, by name."""
    schema = json.dumps(Config.model_json_schema(), indent=2) + "\n"
    return {"config.yaml": default_yaml(), "schema.json": schema, "README.md": manual()}


if __name__ == "__main__":
    for name, text in generated().items():
        (Path(sys.argv[1]) / name).write_text(text)
