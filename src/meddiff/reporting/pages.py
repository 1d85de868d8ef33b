"""Markdown as a web page that stands alone."""

from html import escape

from markdown_it import MarkdownIt

STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif;
       color: #222; background: #fff; }
h1, h2 { line-height: 1.2; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
th, td { border: 1px solid #ccc; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; }
code { background: #f3f3f3; padding: 0 0.2rem; }
"""


def as_html(markdown: str) -> str:
    """Return Markdown as HTML; HTML within the text is shown as text."""
    html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return html


def page(markdown: str) -> str:
    """Return an HTML page titled as its first heading; HTML within the text is shown as text."""
    title = next((line[2:] for line in markdown.splitlines() if line.startswith("# ")), "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{as_html(markdown)}</body>\n</html>\n"
    )
