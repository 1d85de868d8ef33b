"""Links between the project's pages lead somewhere: to a file, and to a heading of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "config", ROOT / "results")
    for path in sorted(folder.glob("*.md"))
]
WRITTEN = {"study.md"}
"""Pages that a command writes once there are runs (`meddiff study`)."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", text.lower()) for text in headings]
    return {text.replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if target.name in WRITTEN and not target.exists():
            continue
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One, two\n[here](#one-two) [there](absent.md)\n")
    assert anchors(page) == {"one-two"}
    with pytest.raises(AssertionError, match="absent"):
        test_links_lead_somewhere(page)
