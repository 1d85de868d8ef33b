"""The page, the table of images and the limits that `meddiff evaluate` hands over."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import meddiff
from meddiff.assessment.findings import Finding, findings
from meddiff.assessment.report import write_report
from meddiff.assessment.text import as_answer, as_text
from meddiff.assessment.training import Training
from meddiff.cas.verdict_text import Wording
from meddiff.cli import main
from meddiff.data.image_sets import ImageSet
from meddiff.reporting.names import NAMES, name_of

HOSTILE = "<script>alert('x')</script> & \"quoted\""


def images(seed: int, *, name: str = "i") -> ImageSet:
    chance = np.random.default_rng(seed)
    level = np.repeat([60, 160], 20)[:, None, None, None]
    pixels = (level + chance.normal(0, 15, (40, 4, 4, 3)).repeat(4, 1).repeat(4, 2)).clip(0, 255)
    ids = tuple(f"{name}{number}.png" for number in range(40))
    groups = tuple(f"p{number // 2}" for number in range(40))
    return ImageSet(pixels.astype(np.uint8), ids, ("dark",) * 20 + (HOSTILE,) * 20, groups)


class Corners:
    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return images[:, ::4, ::4].reshape(len(images), -1) / 60.0


class Page(HTMLParser):
    """What a page holds: tags with attributes, and text outside of its style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text, self._style = [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))
        self._style = tag == "style"

    def handle_endtag(self, tag) -> None:
        self._style = False

    def handle_data(self, data) -> None:
        self.text += "" if self._style else data


@pytest.fixture(scope="module")
def evaluation() -> meddiff.Evaluation:
    result = meddiff.evaluate(images(0), images(1), {"corners": Corners()}, n_resamples=20)
    accuracy = {"metric": "accuracy", "class": "all", "value": 0.8, "ci_low": 0.7, "ci_high": 0.9}
    judged = {"question": "replace", "outcome": "inferior", "difference": -0.1, "margin": 0.05,
              "baseline_value": 0.9, "ci_low": -0.2, "ci_high": -0.06, "n_repeats": 3, "n_test": 10,
              "n_groups": 9, "n_shared": 0, "note": ""}  # fmt: skip
    training = Training(
        scores=pd.DataFrame([{"classifier": "hog_svm", "arm": "real", **accuracy}]),
        verdict=pd.DataFrame([{"classifier": "hog_svm", **accuracy, **judged}]),
        wording=Wording(doubts=[HOSTILE]),
        recognised=pd.DataFrame(
            {"classifier": "hog_svm", "class": HOSTILE, "predicted": "dark", "share": [0.25]}
        ),
        images={"test": {"dark": 5, HOSTILE: 5}},
    )
    findings = (Finding("answer", "It is so: because."), Finding("problem", HOSTILE))
    return replace(result, training=training, findings=findings)


@pytest.fixture(scope="module")
def page(evaluation, tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, evaluation, images(0), images(1), {"command": HOSTILE})
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_needs_no_other_file_and_runs_nothing(page) -> None:
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset"):
            if name in attributes:
                own = attributes[name].startswith("#") and tag != "img"
                assert own or attributes[name].startswith("data:image/png;base64,")


def test_every_picture_says_what_it_is_and_is_the_image(page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 4 * 12 + 2 * 8 + 2 * 8
    assert all(len(each["alt"]) > 10 for each in pictures)
    sets = {"real": images(0), "synthetic": images(1)}
    for each in pictures:
        kind, _, rest = each["alt"].removeprefix("nearest ").partition(" image")
        place = sets[kind].ids.index(rest.rsplit(": ", 1)[1])
        data = base64.b64decode(each["src"].split(",")[1])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), sets[kind].images[place])
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert charts and all(len(each["aria-label"]) > 15 for each in charts)


def test_names_are_shown_as_text_wherever_they_come_from(page) -> None:
    assert page.text.count(HOSTILE) > 5
    assert f"real, {HOSTILE.lower()}" in page.text.lower()


def test_the_page_has_the_answer_the_numbers_and_the_seven_criteria(page, evaluation) -> None:
    assert page.text.index("It is so") < page.text.index("Because.")
    row = evaluation.scores[evaluation.scores["metric"] == "coverage"].iloc[0]
    assert f"{row['value']:.3f} [{row['ci_low']:.3f}" in page.text
    assert "0.800 [0.700, 0.900]" in page.text and "-0.100 [-0.200, -0.060]" in page.text
    assert re.search("HOG and SVM: .*cannot replace", page.text)
    for name in ("Congruence", "Coverage", "Constraint", "Completeness", "Comprehension",
                 "Compliance", "Consistency"):  # fmt: skip
        assert name in page.text
    assert "20 patients" in page.text and f"meddiff{meddiff.__version__}" in page.text


def test_names_are_as_people_write_them(evaluation, tmp_path) -> None:
    """On the page and as text; names of files and of timm's models stay as they are."""
    net = "efficientnet_lite0"
    scores = evaluation.scores.replace({"extractor": {"corners": net}})
    result = replace(evaluation, scores=scores, changed_copies={net: evaluation.memorisation})
    sets = images(0), images(1)
    result = replace(result, findings=tuple(findings(result, *sets, None)))
    write_report(tmp_path / "r.html", result, *sets)
    named = {"weights": "some", "size": 8, "caution": "none"}
    paths = {name: {"path": name, "n_images": 40} for name in ("real", "synthetic")}
    about = {"sets": paths, "pixels": (16, 16, 3), "seed": 0, "extractors": {net: named}}
    page = Page((tmp_path / "r.html").read_text()).text
    for text in (page, as_answer(replace(result, training=None)) + as_text(about, result)):
        raw = [name for name in NAMES if re.search(rf"\b{name}\b", text)]
        assert not raw and "SSIM within real" in text and "EfficientNet-Lite0" in text
    for name in ("models/my_net.safetensors", "timm:vit_large", "local-dir:my_net"):
        assert name_of(name) == name
    assert evaluation.number("KID") == evaluation.number("kid")


def test_a_page_of_pixels_alone(tmp_path) -> None:
    plain = [replace(images(seed), ids=(), labels=None, groups=None) for seed in (0, 1)]
    result = meddiff.evaluate(*plain, n_resamples=8)
    write_report(tmp_path / "r.html", result, *plain)
    text = Page((tmp_path / "r.html").read_text()).text
    assert "pixels alone" in text and "Every number" in text


@pytest.fixture
def folders(tmp_path) -> list[str]:
    for name, seed in (("real", 0), ("synthetic", 1)):
        each = images(seed, name=name)
        for place, pixels in enumerate(each.images):
            folder = tmp_path / name / ("dark" if place < 20 else "light")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    return [str(tmp_path / "real"), str(tmp_path / "synthetic")]


def test_the_command_writes_files_and_holds_limits(folders, tmp_path, capsys) -> None:
    arguments = ["evaluate", *folders, "--extractor", "none", "--size", "16",
                 "--n-resamples", "8", "--groups", "[0-9]$|[0-9](?=.png)"]  # fmt: skip
    table, report = tmp_path / "i.csv", tmp_path / "r.html"
    limit = "ssim within real=-1"
    assert main([*arguments, "--csv", str(table), "--report", str(report),
                 "--fail-below", limit]) == 0  # fmt: skip
    rows = pd.read_csv(table)
    assert len(rows) == 80 and set(rows["image_set"]) == {"real", "synthetic"}
    synthetic = rows[rows["image_set"] == "synthetic"].set_index("image")
    assert synthetic.index[0] == "dark/0.png"
    assert (synthetic["nearest"].str.split("/").str[0] == synthetic["class"]).mean() > 0.9
    assert folders[0] in report.read_text()
    capsys.readouterr()
    assert main([*arguments, "--fail-below", "ssim within real=0.99"]) == 1
    output = capsys.readouterr()
    assert re.search(r"ssim within real .*\b0\.99\b", output.err)
    assert "SSIM within synthetic" in output.out, "scores are printed all the same"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["--fail-below", "score"], "score=0.8"),
        (["--fail-below", "score=high"], "score=0.8"),
        (["--extractor", "none", "--fail-below", "score=0.8"], "score"),
        (["--fail-below", "accuracy=0.8"], "--train"),
        (["--report", "nowhere/r.html"], "nowhere"),
        (["--csv", "nowhere/i.csv"], "nowhere"),
    ],
)
def test_bad_options_are_refused_before_any_work(folders, capsys, bad, words) -> None:
    assert main(["evaluate", *folders, *bad]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
