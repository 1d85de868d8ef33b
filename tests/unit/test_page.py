"""The page of a run: it stands alone, is well formed, and says what its tables say."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from meddiff.reporting.page.heat import matrix_table
from meddiff.reporting.page.run import run_page
from meddiff.reporting.page.sections import Contents
from page import HOSTILE, NUMBERS, QUOTED, Page, contents, matrix


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Contents:
    return contents(tmp_path_factory.mktemp("run"), [HOSTILE, QUOTED])


@pytest.fixture(scope="module")
def page(shown) -> Page:
    return Page(run_page(shown))


def test_the_page_stands_alone(page) -> None:
    page.check()
    assert len(page.values("href")) > 20 and {"img", "svg"} <= {tag for tag, _ in page.tags}


def test_names_are_text_wherever_they_come_from(page) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.text.count(HOSTILE) > 5 and page.text.count(QUOTED) > 5
    assert f"{HOSTILE}, synthetic" in page.text


def test_the_answer_has_the_numbers_of_the_row_that_it_links_to(page, shown) -> None:
    sentences = page.answers()
    assert len(sentences) == 2
    for line, numbers, text in sentences:
        row = shown.tables["verdict"].iloc[line - 2]
        assert numbers == [round(float(row[name]), 3) for name in NUMBERS]
        assert len(text.split()) <= 25 and "cannot replace" in text


def test_a_row_of_the_page_is_the_line_of_the_csv(page, shown) -> None:
    rows = dict(re.findall(r'<tr id="(table_5_2-\d+)">(.*?)</tr>', page.html, re.S))
    table = shown.tables["table_5_2"]
    assert len(rows) == len(table)
    for place, row in enumerate(table.to_dict("records")):
        assert f"<td>{row['value']:.6g}</td>" in rows[f"table_5_2-{place + 2}"]
        assert f"<td>{row['metric']}</td>" in rows[f"table_5_2-{place + 2}"]


def test_a_number_of_the_study_links_to_the_same_cell(tmp_path) -> None:
    classes = ["benign", "malignant"]
    page = Page(run_page(contents(tmp_path, classes)))
    section = page.html.split('id="study"')[1].split("</section>")[0]
    printed, link, here, beside = re.search(
        r'benign, synthetic, U-Net: FID</th>\s*<td>(.*?)</td>\s*<td><a href="#(.*?)">(.*?)</a></td>'
        r"\s*<td>(.*?)</td>", section,
    ).groups()  # fmt: skip
    assert (printed, here, beside) == ("2677.1074", "2 [1.5, 2.5]", "floor 1; ceiling 20")
    row = page.html.split(f'<tr id="{link}">')[1].split("</tr>")[0]
    assert "<td>synthetic</td>" in row and "<td>benign</td>" in row and "<td>2</td>" in row


OPTIONAL = {
    "verdict": "answer", "dose_response": "taught", "matrices/fid_unet": "matrices",
    "audit/leakage": "data",
}  # fmt: skip
"""Sections by a table that they need."""


def test_what_a_run_has_not_made_is_left_out_and_named(page, shown) -> None:
    only = replace(shown, tables={"table_5_2": shown.tables["table_5_2"]}, answers=(), controls=())
    less = Page(run_page(only))
    for name, section in OPTIONAL.items():
        assert section in page.values("id") and section not in less.values("id")
        targets = {"matrices": [], "audit": ["audit"]}.get(
            name.split("/")[0], [f"results/{name}.csv"]
        )
        page_too = ["results/report.html"] if targets else []
        command = " ".join(["snakemake --cores all", *targets, *page_too])
        assert f"{command}, with" in less.text
    assert "not measured" in less.text and "near" in less.values("id")
    less.check()


def test_a_run_of_one_class_says_that_it_has_no_classifiers(tmp_path) -> None:
    whole = contents(tmp_path, ["hand"])
    page = Page(run_page(replace(
        whole, tables={"table_5_2": whole.tables["table_5_2"]}, answers=(), controls=(), limits=(),
    )))  # fmt: skip
    [sentence] = re.findall(r'<p class="answer">(.*?)</p>', page.html)
    assert "no classifier" in sentence and len(sentence.split()) <= 25
    assert "KID of U-Net: hand 0.91;" in sentence
    table = whole.tables["table_5_2"].assign(note="a (b; c); d")
    assert "<li>a (b; c)</li><li>d</li>" in run_page(replace(whole, tables={"table_5_2": table}))
    assert "dose_response" not in page.text


def test_generators_and_readers_are_charted_where_there_are_any(page) -> None:
    section = page.html.split('id="further"')[1].split("</section>")[0]
    assert "reader &lt;script&gt;" in section and "all readers" in section
    assert "0.800 [0.700, 0.900]" in section and "0.550 [0.400, 0.700]" in section


def test_a_strip_of_three_moments_has_a_slider_of_three(page) -> None:
    sliders = [each for tag, each in page.tags if tag == "input"]
    assert len(sliders) == 2 and {each["max"] for each in sliders} == {"2"}
    hidden = [each for _, each in page.tags if each.get("class") == "slider"]
    assert all("hidden" in each for each in hidden), "without JavaScript the strip stands alone"


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_numbers_of_a_heat_map_can_be_read_and_show_their_interval() -> None:
    classes = ["a", "b", "c"]
    table = matrix(classes)
    table["value"] = np.linspace(0, 90, len(table))
    cells = [cell for row in matrix_table(table, "kid_unet").rows for cell in row[1:]]
    for cell, value in zip(cells, table["value"], strict=True):
        assert f"{value:.6g} [0.1, 3.25]" in cell.title
        shade, ink = re.findall("#([0-9a-f]+)", cell.style)
        assert contrast(shade, ink * 2) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page_in_both_schemes(scheme) -> None:
    style = (ROOT / "src/meddiff/reporting/templates/style.css.j2").read_text()
    rule = re.findall(r":root \{(.*?)\}", style, re.S)[scheme == "dark"]
    colours = {}
    for name, colour in re.findall(r"--(\w+): #(\w+)", rule):
        colours[name] = "".join(2 * each for each in colour) if len(colour) == 3 else colour
    for name in ("ink", "soft", "bar", "doubt"):
        for ground in ("paper", "panel", "band"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in ("mark", "bad", "good", *(f"s{number}" for number in range(1, 7))):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_what_a_run_can_never_have_is_not_asked_for(shown) -> None:
    table = shown.tables["table_5_2"]
    changed = {
        "Real images alone": table[table["image_set"] != "synthetic"].reset_index(drop=True),
        "no classifier": table.assign(protocol="as_published"),
    }
    for words, quality in changed.items():
        page = Page(run_page(replace(shown, tables={"table_5_2": quality}, answers=())))
        assert words in page.text and "memorisation.csv" not in page.text
        assert ("results/verdict.csv" in page.text) == (words[0] == "n")


def test_curves_of_trainings_and_of_probabilities_are_shown_where_they_are(shown, page) -> None:
    picture = shown.pictures["figures/image_sets"]
    names = ["cas/reliability", "extractors/unet_curves", f"ddpm/{shown.classes[0]}_curves"]
    nets = pd.DataFrame({"extractor": ["unet", "resnet50"], "dice": [0.8, np.nan]})
    pictures = dict(shown.pictures) | {f"figures/{name}": picture for name in names}
    more = Page(
        run_page(replace(shown, pictures=pictures, tables={**shown.tables, "table_5_1": nets}))
    )
    more.check()
    images = [sum(tag == "img" for tag, _ in each.tags) for each in (page, more)]
    assert images[1] - images[0] == len(names)
    for title in ("Loss", "Are the probabilities right?", "Their trainings"):
        assert f"<h3>{title}</h3>" in more.html and f"<h3>{title}</h3>" not in page.html
