"""The gallery of a run: every figure with its number, and the command that draws it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from meddiff.reporting.figures.numbers import Numbered
from meddiff.reporting.page.html import Picture, address, embedded, render

NOTE = (
    "Figures of the study by number, each drawn anew from this run's own data and configuration; "
    "none is taken from the study."
)


def gallery_page(figures: Sequence[Numbered], stamp: Mapping[str, object]) -> str:
    """Return the page.

    Args:
        figures: in their order, their files finished, .svg or .png.
        stamp: data, scale, protocol and seed of the run.
    """
    shown = [
        {
            "anchor": f"figure-{place}",
            "numbers": each.numbers,
            "title": each.title,
            "picture": Picture(address(Path(each.path).read_bytes(), "svg+xml"), each.title)
            if each.path.endswith(".svg")
            else embedded(each.path, each.title),
            "command": f"snakemake --cores 2 {each.path}",
        }
        for place, each in enumerate(figures)
    ]
    run = ", ".join(f"{value}" for key, value in stamp.items() if key != "seed")
    return render("gallery.html.j2", {"figures": shown, "note": NOTE, "run": run})
