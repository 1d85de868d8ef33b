"""What mkdocs does to the project's pages: those outside docs/ come in, links follow them.

A link to a file that is not part of the site, such as source code, becomes its path. Of a run in
the project's root, its page and gallery are part of the site.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TAKEN_IN = {
    "README.md": "index.md",
    "config/README.md": "configuration.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/report.html": "run/report.html",
    "results/figures/gallery.html": "run/gallery.html",
}
"""Files of the project by their place on the site; those of a run only where there is one."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s:]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    for source, place in TAKEN_IN.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, place, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let the links of a page lead to pages of the site."""
    places = {place: source for source, place in TAKEN_IN.items()}
    here = PurePosixPath(page.file.src_uri)
    source = PurePosixPath(places.get(str(here), f"docs/{here}"))

    def follow(match: re.Match[str]) -> str:
        text, link = match.groups()
        name, mark, anchor = link.partition("#")
        if not name:
            return match[0]
        path = os.path.normpath(source.parent / name)
        place = TAKEN_IN.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place is None or files.get_file_from_path(place) is None:
            return text if text == f"`{name}`" else f"{text} (`{path}`)"
        return f"[{text}]({os.path.relpath(place, here.parent)}{mark}{anchor})"

    return LINK.sub(follow, markdown)
