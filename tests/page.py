"""Pages as a browser reads them, and a run's tables and pictures, drawn up for tests."""

import re
from html.parser import HTMLParser
from pathlib import Path

import html5lib
import numpy as np
import pandas as pd
from PIL import Image

from conftest import ROOT
from meddiff.cas.verdict import QUESTIONS
from meddiff.cas.verdict_text import words_of
from meddiff.core.tables import read_csv, write_table
from meddiff.reporting.page.sections import Contents
from meddiff.reporting.reported import read_reported

STAMP = {"data": "phantom", "scale": "demo", "protocol": "leak_free", "seed": 0}
HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"'&$x_1$ Ñandú 皮"


class Page(HTMLParser):
    """Tags with attributes, text, and what is no text, of a page that is valid HTML5."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.programs = self._tag = ""
        self.html = html
        html5lib.HTMLParser(strict=True).parse(html)
        self.feed(html)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))
        self._tag = tag

    def handle_endtag(self, tag) -> None:
        self._tag = ""

    def handle_data(self, data) -> None:
        if self._tag in ("style", "script"):
            self.programs += data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, each in self.tags if (value := each.get(name)) is not None]

    def check(self) -> None:
        """Nothing is loaded from elsewhere, links resolve, ids are unique, pictures have words."""
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            places = self.values(name)
            assert all(each.startswith(("#", "data:image/png;base64,")) for each in places)
        assert not re.search(r"@import|url\((?!#)|https?:|fetch\(|import\(", self.programs)
        assert not {"link", "iframe", "object", "base", "embed"} & {tag for tag, _ in self.tags}
        assert not [name for _, each in self.tags for name in each if name.startswith("on")]
        ids = self.values("id")
        assert len(set(ids)) == len(ids)
        assert {each[1:] for each in self.values("href") if each[0] == "#"} <= set(ids)
        pictures = [each["alt"] for tag, each in self.tags if tag == "img"]
        charts = [each["aria-label"] for tag, each in self.tags if tag == "svg"]
        assert all(len(words) > 15 for words in (*pictures, *charts))

    def answers(self) -> list[tuple[int, list[float], str]]:
        """Line in verdict.csv, numbers and text of each sentence that has a number."""
        rows = []
        for sentence in re.findall(r'<p class="answer">(.*?)</p>', self.html, re.S):
            if lines := re.findall(r'href="#verdict-(\d+)"', sentence):
                text = re.sub("<.*?>", "", sentence)
                numbers = [float(each) for each in re.findall(r"[+-]?\d+\.\d+", text)]
                rows.append((int(lines[0]), numbers, text))
        return rows


NUMBERS = ["value", "baseline_value", "difference", "ci_low", "ci_high"]
"""Columns of verdict.csv whose numbers a sentence has."""


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
            rows.append(row | {"metric": "kid", "extractor": "unet", "value": value} | ends)
            rows.append(row | {"metric": "coverage", "extractor": "unet", "value": 1 / value})
            rows.append(row | {"metric": "ssim", "value": 0.5, "std": 0.1})
        rows[-11] |= {"score": 0.91, "score_ci_low": 0.8, "score_ci_high": 1.4}
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


def generators(classes: list[str]) -> pd.DataFrame:
    score = {"metric": "kid", "extractor": "unet", "value": 2.0, "score": 0.8, "score_ci_low": 0.7,
             "score_ci_high": 0.9}  # fmt: skip
    trained = {"classifier": "hog_svm", "metric": "accuracy", "class": "all", "value": 0.7,
               "ci_low": 0.6, "ci_high": 0.8}  # fmt: skip
    rows = [score | {"generator": f"by {name}", "class": name} for name in classes]
    rows += [trained | {"generator": "ours", "arm": "synthetic"}]
    return pd.DataFrame([*rows, trained | {"generator": "real", "arm": "real"}])


def readers() -> pd.DataFrame:
    row = {"design": "pairs", "metric": "accuracy", "value": 0.55, "ci_low": 0.4, "ci_high": 0.7}
    return pd.DataFrame([row | {"reader": reader} for reader in (HOSTILE, "all")])


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
        "generators": generators(classes),
        "reader_study": readers(),
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
