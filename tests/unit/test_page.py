"""The page of a run: it stands alone, is well formed, and says what its tables say."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import ROOT
from meddiff.cas.verdict import QUESTIONS
from meddiff.cas.verdict_text import words_of
from meddiff.core.tables import read_csv, write_table
from meddiff.reporting.page.heat import matrix_table
from meddiff.reporting.page.run import run_page
from meddiff.reporting.page.sections import Contents
from meddiff.reporting.reported import read_reported

STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}
HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"'&$x_1$ Ñandú 皮"
VOID = {"meta", "img", "input", "link", "br", "hr", "use", "path"}


class Page(HTMLParser):
    """Tags with attributes, text by the element it is in, and ids; tags must nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = self.programs = ""
        self.html = html
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes) -> None:
        assert len(dict(attributes)) == len(attributes), tag
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID or f"<{tag}" not in self.get_starttag_text():
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.programs += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, each in self.tags if (value := each.get(name)) is not None]


def verdict(classes: list[str]) -> pd.DataFrame:
    row = {"metric": "accuracy", "class": "all", "value": 0.6741, "baseline_value": 0.8034,
           "difference": -0.1293, "ci_low": -0.1982, "ci_high": -0.0612, "margin": 0.05,
           "n_repeats": 3, "n_test": 198, "n_groups": 150, "n_shared": 0,
           "note": np.nan}  # fmt: skip
    rows = []
    for classifier in ("hog_svm", "skinlesnet"):
        for question, outcome in (("replace", "inferior"), ("add", "equivalent")):
            pair = {"classifier": classifier, "question": question, "outcome": outcome}
            rows.append(row | pair | {"arm": "synthetic", "baseline": "real"})
            rows += [rows[-1] | {"metric": "recall", "class": name} for name in classes]
    return pd.DataFrame(rows)


def quality(classes: list[str]) -> pd.DataFrame:
    rows = []
    for name in classes:
        for image_set, value in (("synthetic", 2.0), ("real", 1.0), ("noise", 20.0)):
            row = {"class": name, "image_set": image_set, "dimension": 4, "n_synthetic": 9}
            ends = {"ci_low": value - 0.5, "ci_high": value + 0.5}
            rows.append(row | {"metric": "fid", "extractor": "unet", "value": value} | ends)
            rows.append(row | {"metric": "coverage", "extractor": "unet", "value": 1 / value})
            rows.append(row | {"metric": "ssim", "value": 0.5, "std": 0.1})
        rows[-9] |= {"score": 0.91, "score_ci_low": 0.8, "score_ci_high": 1.4}
    return pd.DataFrame(rows).assign(subset=np.nan, note=np.nan, reference="test")


def arms(classifier: str, classes: list[str]) -> pd.DataFrame:
    row = {"classifier": classifier, "value": 0.7, "ci_low": 0.6, "ci_high": 0.8}
    return pd.DataFrame(
        row | {"arm": arm, "metric": metric, "class": name}
        for arm in ("synthetic", "real", "shuffled")
        for metric, names in (("accuracy", ["all"]), ("recall", classes))
        for name in names
    )


def matrix(classes: list[str]) -> pd.DataFrame:
    sets = [(images, name) for images in ("train", "synthetic") for name in classes]
    return pd.DataFrame(
        {"image_set_a": a, "class_a": b, "image_set_b": c, "class_b": d,
         "value": 1.5 * ((a, b) != (c, d)), "ci_low": 0.1, "ci_high": 3.25}
        for a, b in sets
        for c, d in sets
    )  # fmt: skip


def doses() -> pd.DataFrame:
    row = {"metric": "accuracy", "class": "all", "value": 0.7, "ci_low": 0.6, "ci_high": 0.8}
    return pd.DataFrame(
        row | {"fraction": fraction, "ratio": ratio, "difference": 0.02 * ratio,
               "difference_ci_low": -0.01, "difference_ci_high": 0.05}
        for fraction in (0.1, 1.0)
        for ratio in (0.0, 1.0, 2.0)
    )  # fmt: skip


def contents(folder: Path, classes: list[str]) -> Contents:
    made = {
        "verdict": verdict(classes),
        "table_5_2": quality(classes),
        "table_5_3": arms("skinlesnet", classes),
        "cas_hog_svm": arms("hog_svm", classes),
        "dose_response": doses(),
        "matrices/fid_unet": matrix(classes),
        "audit/leakage": pd.DataFrame({"net": ["ddpm"], "unit": ["image"], "n_leaked": [3]}),
    }
    tables = {}
    for name, table in made.items():
        path = folder / f"{name.replace('/', '-')}.csv"
        write_table(table, path, STAMP)
        tables[name] = read_csv(path)
    picture = folder / "strip.png"
    Image.fromarray(np.zeros((30, 66 * 3, 3), np.uint8)).save(picture)
    names = ["figures/image_sets", *(f"figures/ddpm/{name}_previews" for name in classes)]
    record = {"path": "results/table_5_2.csv", "rule": "table_5_2", "sha256": "a" * 64,
              "commit": "abc", "author": HOSTILE, "started": "2026-01-01", "machine": None,
              "finished": "2026-01-02", "packages": {"numpy": "2"}}  # fmt: skip
    return Contents(
        tables, dict.fromkeys(names, picture), classes,
        questions={name: each.text for name, each in QUESTIONS.items()},
        printed=read_reported(ROOT / "config/reported.yaml"),
        lineage={"results/table_5_2.csv": record}, **words_of(tables, STAMP),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Contents:
    return contents(tmp_path_factory.mktemp("run"), [HOSTILE, QUOTED])


@pytest.fixture(scope="module")
def page(shown) -> Page:
    return Page(run_page(shown))


def test_nothing_is_loaded_from_elsewhere(page) -> None:
    for name in ("src", "href", "srcset", "data", "action", "poster"):
        assert all(each.startswith(("#", "data:image/png;base64,")) for each in page.values(name))
    assert not re.search(r"@import|url\((?!#)|https?:|fetch\(|import\(", page.programs)
    assert not {"link", "iframe", "object", "base", "embed"} & {tag for tag, _ in page.tags}
    assert not [name for _, each in page.tags for name in each if name.startswith("on")]


def test_links_resolve_and_ids_are_unique(page) -> None:
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    links = {each for each in page.values("href") if each.startswith("#")}
    assert len(links) > 20 and {link[1:] for link in links} <= set(ids)


def test_every_picture_and_chart_says_what_it_is(page) -> None:
    pictures = [each for tag, each in page.tags if tag == "img"]
    assert pictures and all(len(each["alt"]) > 15 for each in pictures)
    charts = [each for tag, each in page.tags if tag == "svg"]
    assert charts and all(len(each["aria-label"]) > 15 for each in charts)


def test_names_are_text_wherever_they_come_from(page) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.text.count(HOSTILE) > 5 and page.text.count(QUOTED) > 5
    assert f"{HOSTILE}, synthetic" in page.text


def test_the_answer_has_the_numbers_of_the_row_that_it_links_to(page, shown) -> None:
    sentences = re.findall(r'<p class="answer">(.*?)</p>', page.html, re.S)
    assert len(sentences) == 2
    for sentence in sentences:
        [line] = re.findall(r'href="#verdict-(\d+)"', sentence)
        row = shown.tables["verdict"].iloc[int(line) - 2]
        numbers = [float(each) for each in re.findall(r"[+-]?\d+\.\d+", sentence)]
        columns = ["value", "baseline_value", "difference", "ci_low", "ci_high"]
        assert numbers == [round(float(row[name]), 3) for name in columns]
        text = re.sub("<.*?>", "", sentence)
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
    "verdict": "What the answer rests on",
    "dose_response": "What do they teach a classifier? (Table 5.3)",
    "matrices/fid_unet": "Every image set against every other",
    "audit/leakage": "Are the data clean? (audit)",
}


def test_what_a_run_has_not_made_is_left_out_and_named(page, shown) -> None:
    only = replace(shown, tables={"table_5_2": shown.tables["table_5_2"]}, answers=(), controls=())
    less = Page(run_page(only))
    for name, title in OPTIONAL.items():
        assert f">{title}</h2>" in page.html and f">{title}</h2>" not in less.html
        target = {"matrices": "all", "audit": "audit"}.get(
            name.split("/")[0], f"results/{name}.csv"
        )
        assert f"--cores all {target}," in less.text.split("Not on this page")[1]
    assert "not measured yet" in less.text and "How near are they" in less.text
    links = {link[1:] for link in less.values("href") if link[0] == "#"}
    assert links <= set(less.values("id"))


def test_a_run_of_one_class_says_that_it_has_no_classifiers(tmp_path) -> None:
    whole = contents(tmp_path, ["hand"])
    page = Page(run_page(replace(
        whole, tables={"table_5_2": whole.tables["table_5_2"]}, answers=(), controls=(), limits=(),
    )))  # fmt: skip
    assert "One class: no classifier can be trained" in page.text
    assert "dose_response" not in page.text


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
    found = re.findall(r":root \{(.*?)\}", style, re.S)[scheme == "dark"]
    colours = {}
    for name, colour in re.findall(r"--(\w+): #(\w+)", found):
        colours[name] = "".join(2 * each for each in colour) if len(colour) == 3 else colour
    for name in ("ink", "soft", "bar", "doubt"):
        for ground in ("paper", "panel", "band"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in ("mark", "bad", "good", *(f"s{number}" for number in range(1, 7))):
        assert contrast(colours[name], colours["paper"]) >= 3, name
