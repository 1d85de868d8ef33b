"""Reader studies: designs, what the page and the key hold, and what is refused."""

import base64
import io
import json
import math
import re
from functools import reduce
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from conftest import REAL as REAL_IMAGES
from meddiff.audit.encoding_traces import separation
from meddiff.cli import main
from meddiff.core.errors import MeddiffError
from meddiff.core.tables import read_csv
from meddiff.reader_study.answers import read_answers
from meddiff.reader_study.design import REAL, SYNTHETIC, Design, draw_trials
from meddiff.reader_study.page import read_language
from meddiff.reader_study.score import imrmc_input, reader_table

COUNTS = {"benign": {REAL: 90, SYNTHETIC: 60}, "malignant": {REAL: 80, SYNTHETIC: 70}}


def textured(count: int, seed: int, size: int = 48) -> np.ndarray:
    """Smooth colour images with grain, uint8 (n,s,s,3), as of a camera without JPEG."""
    chance = np.random.default_rng(seed)
    smooth = gaussian_filter(chance.normal(size=(count, size, size, 3)), (0, 6, 6, 0))
    grain = gaussian_filter(chance.normal(size=(count, size, size, 3)), (0, 0.7, 0.7, 0))
    return (128 + 350 * smooth + 8 * grain).clip(0, 255).astype(np.uint8)


def write_run(folder: Path, seed: int = 0, **sets: np.ndarray) -> Path:
    for name in ("train", "synthetic"):
        for place, cls in enumerate(("benign", "malignant")):
            images = sets.get(name, textured(40, seed + place + 10 * (name == "train")))
            path = folder / "data/images" / name / f"{cls}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, images)
    return folder


def content(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


@given(
    design=st.sampled_from(get_args(Design)),
    n_trials=st.integers(4, 40),
    repeats=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_a_design_is_balanced_and_repeats_come_late(
    design: str, n_trials: int, repeats: float, seed: int
) -> None:
    trials = draw_trials(COUNTS, design, n_trials=n_trials, choices=3, repeats=repeats, seed=seed)
    first = [each for each in trials if not each.repeat]
    assert [each.case for each in first] == list(range(len(first)))
    shown = [image for trial in first for image in trial.images]
    assert len(set(shown)) == len(shown)
    targets = np.bincount([trial.target for trial in first])
    if design == "single":
        assert targets[0] == targets[1]
    else:
        assert all(sum(i.image_set == SYNTHETIC for i in t.images) == 1 for t in first)
        assert np.ptp(targets) <= len(COUNTS)
    classes = [trial.images[0].cls for trial in first]
    assert classes.count("benign") == classes.count("malignant")
    for place, trial in enumerate(trials):
        if trial.repeat:
            before = next(p for p, t in enumerate(trials) if t.case == trial.case)
            assert trials[before].images == trial.images
            assert place - before >= len(first) // 4
    again = draw_trials(COUNTS, design, n_trials=n_trials, choices=3, repeats=repeats, seed=seed)
    assert trials == again


def test_a_design_that_needs_more_images_names_class_and_set() -> None:
    with pytest.raises(MeddiffError, match=r"benign.*synthetic.*60"):
        draw_trials(COUNTS, "single", n_trials=400)


@pytest.mark.parametrize("design", get_args(Design))
def test_the_page_holds_the_keys_images_and_no_hint(design: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    out = tmp_path / "study"
    arguments = ["readers", "make", str(run), "--out", str(out), "--design", design,
                 "--trials", "16", "--choices", "3", "--repeats", "0.25"]  # fmt: skip
    assert main(arguments) == 0
    page, key = (out / "study.html").read_text(), read_csv(out / "key.csv")
    study = content(page)
    assert study["id"] == key["study"].iloc[0]
    assert not re.search(r"(src|href)=.?http", page)
    # What is embedded says of no image what it is, by name, order or metadata.
    assert study.keys() == {"design", "language", "trials", "images", "id"}
    assert all(each.keys() == {"id", "images"} for each in study["trials"])
    kinds = set()
    for trial in study["trials"]:
        rows = key[key["trial"] == trial["id"]].sort_values("place")
        for name, row in zip(trial["images"], rows.to_dict("records"), strict=True):
            data = base64.b64decode(study["images"][name].removeprefix("data:image/png;base64,"))
            picture = Picture.open(io.BytesIO(data))
            kinds.add((picture.mode, picture.size, tuple(sorted(picture.info))))
            folder = "train" if row["image_set"] == REAL else "synthetic"
            images = np.load(run / "data/images" / folder / f"{row['class']}.npy")
            assert (np.asarray(picture) == images[row["row"]]).all()
    assert len(kinds) == 1
    assert key["repeat"].sum() > 0


def test_a_study_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "study"
    arguments = ["readers", "make", str(run), "--out", str(out), "--trials", "8"]
    assert main(arguments) == 0
    before = (out / "key.csv").read_bytes()
    assert main([*arguments, "--seed", "1"]) == 1
    assert "key.csv" in capsys.readouterr().err
    assert (out / "key.csv").read_bytes() == before


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    def encoded(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Picture.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Picture.open(file))

    return np.stack([encoded(image) for image in images])


def test_encoding_tells_jpeg_and_stretching_and_not_blur_or_colour() -> None:
    real, other = textured(60, 1), textured(60, 2)
    stretched = (other.astype(float) * 1.4).clip(0, 255).round().astype(np.uint8)
    blurred = gaussian_filter(other, (0, 1.0, 1.0, 0))
    warmer = (other.astype(int) + np.array([20, 0, -20])).clip(0, 255).astype(np.uint8)
    for changed in (jpeg(other, 40), jpeg(other, 75), stretched):
        assert separation(real, changed).low > 0.6
    for same in (other, blurred, warmer):
        assert separation(real, same).low < 0.6


def test_real_photographs_are_told_apart_by_a_second_jpeg_alone() -> None:
    if not REAL_IMAGES.is_dir():
        pytest.skip("no ../shared/real")
    files = sorted(REAL_IMAGES.rglob("*.jpg"))[:80]
    images = np.stack(
        [
            np.asarray(Picture.open(f).convert("RGB").resize((96, 96), Picture.LANCZOS))
            for f in files
        ]
    )
    first, second = images[::2], images[1::2]
    assert separation(first, second).low < 0.6
    assert separation(first, jpeg(second, 60)).low > 0.6


def test_sets_with_traces_of_encoding_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = write_run(tmp_path / "run", train=jpeg(textured(60, 3), 50), synthetic=textured(60, 4))
    assert main(["readers", "make", str(run), "--out", str(tmp_path / "s"), "--trials", "8"]) == 1
    assert "encoding" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_languages_have_the_same_texts(tmp_path: Path) -> None:
    english, spanish = read_language("en"), read_language("es")
    assert english.keys() == spanish.keys()
    own = tmp_path / "own.json"
    own.write_text(json.dumps(english | {"title": "Echt oder künstlich?"}))
    assert read_language(str(own))["title"].startswith("Echt")
    own.write_text(json.dumps(english | {"confidence": ["yes", "no"]}))
    with pytest.raises(MeddiffError, match=r"own.json: confidence"):
        read_language(str(own))


# What readers answer.


def make_key(
    tmp_path: Path, design: str, trials: int, choices: int = 3
) -> tuple[Path, pd.DataFrame]:
    run = write_run(tmp_path / "run", train=textured(250, 5, 24), synthetic=textured(250, 6, 24))
    out = tmp_path / f"study-{design}"
    assert main(["readers", "make", str(run), "--out", str(out), "--design", design, "--trials",
                 str(trials), "--choices", str(choices), "--repeats", "0.2"]) == 0  # fmt: skip
    return out / "key.csv", read_csv(out / "key.csv")


def answer_file(folder: Path, key: pd.DataFrame, reader: str, answers: list[int]) -> Path:
    trials = key["trial"].unique().tolist()
    rows = [
        {"trial": trial, "answer": int(answer), "seconds": 1.5}
        for trial, answer in zip(trials, answers, strict=True)
    ]
    file = {"study": key["study"].iloc[0], "design": key["design"].iloc[0], "reader": reader}
    path = folder / f"{reader}.json"
    path.write_text(json.dumps(file | {"answers": rows}))
    return path


def targets(key: pd.DataFrame) -> np.ndarray:
    return key.drop_duplicates("trial")["target"].to_numpy()


def test_a_perfect_reader_and_one_who_always_says_real(tmp_path: Path) -> None:
    path, key = make_key(tmp_path, "single", 40)
    truth = targets(key)
    files = [
        answer_file(tmp_path, key, "perfect", np.where(truth == 1, 6, 1).tolist()),
        answer_file(tmp_path, key, "trusting", [1] * len(truth)),
    ]
    assert main(["readers", "score", *map(str, files), "--key", str(path)]) == 0
    table = read_csv(path.parent / "reader_study.csv")
    scores = table.pivot_table("value", "reader", "metric", aggfunc="first", dropna=False)
    assert (
        scores.loc["perfect", ["accuracy", "hit_rate", "roc_auc", "intra_reader_kappa"]].eq(1).all()
    )
    assert scores.loc["perfect", "false_alarm_rate"] == 0
    assert scores.loc["trusting", "accuracy"] == 0.5 == scores.loc["trusting", "roc_auc"]
    assert scores.loc["trusting", "d_prime"] == pytest.approx(0)
    assert scores.loc["trusting", "criterion"] > 1
    assert scores.loc["all", "accuracy"] == 0.75
    images = read_csv(path.parent / "reader_study_images.csv")
    assert (images["share"] == np.where(images["image_set"] == SYNTHETIC, 0.5, 0)).all()


def test_no_interval_leaves_the_range_of_its_score(tmp_path: Path) -> None:
    """Readers who are nearly perfect, nearly always wrong, and who change their minds once."""
    path, key = make_key(tmp_path, "single", 40)
    right = np.where(targets(key) == 1, 6, 1)
    files = [
        answer_file(tmp_path, key, name, np.where(np.arange(len(right)) == place, 7 - most, most))
        for place, (name, most) in enumerate({"sure": right, "wrong": 7 - right}.items(), start=38)
    ]
    assert main(["readers", "score", *map(str, files), "--key", str(path)]) == 0
    table = read_csv(path.parent / "reader_study.csv")
    least = table["metric"].map(lambda name: -1 if name.endswith("kappa") else 0)
    bounded = ~table["metric"].isin(["d_prime", "criterion"]) & table["ci_low"].notna()
    assert bounded.sum() > 8 and "intra_reader_kappa" in set(table.loc[bounded, "metric"])
    assert (table.loc[bounded, "ci_low"] >= least[bounded]).all()
    assert (table.loc[bounded, "ci_high"] <= 1).all()


def bad_files(key: pd.DataFrame, good: dict) -> dict[str, tuple[object, str]]:
    answers = good["answers"]
    return {
        "of another study": (good | {"study": "0" * 12}, "000000000000"),
        "too few": (good | {"answers": answers[:-3]}, "3 of"),
        "twice": (good | {"answers": [*answers, answers[0]]}, "twice"),
        "beyond": (good | {"answers": [answers[0] | {"answer": 7}, *answers[1:]]}, " 6"),
        "a name": (good | {"reader": "Dr. Somebody"}, "reader"),
        "no number": (good | {"answers": [answers[0] | {"seconds": math.nan}]}, "seconds"),
        "more": (good | {"script": "x"}, "script"),
        "of another design": (good | {"design": "pairs"}, "pairs"),
        "by all readers": (good | {"reader": "all"}, "all"),
        "a deep list": (reduce(lambda inner, _: [inner], range(900), []), "bad.json"),
        "a list": ([1, 2], "bad.json"),
    }


def test_files_that_are_not_whole_are_refused_in_one_line(tmp_path: Path) -> None:
    _, key = make_key(tmp_path, "single", 8)
    good = answer_file(tmp_path, key, "r1", [1] * key["trial"].nunique())
    for name, (file, message) in bad_files(key, json.loads(good.read_text())).items():
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps(file))
        with pytest.raises(MeddiffError, match=r"bad\.json") as refused:
            read_answers([bad], key)
        assert message in str(refused.value), name
        assert "\n" not in str(refused.value)
    with pytest.raises(MeddiffError, match="r1"):
        read_answers([good, good], key)
    bad.write_text("[" * 10**5)
    with pytest.raises(MeddiffError, match=r"bad\.json"):
        read_answers([bad], key)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "benign", "--trials", "2"], "--trials 2"),
        (["--class", "benign", "--trials", "1", "--design", "pairs"], "--trials 1"),
        (["--class", "benign", "--trials", "1", "--design", "choice"], "--trials 1"),
        *((["--repeats", share], f"--repeats {share}") for share in ("-1", "nan", "inf", "1.5")),
        (["--design", "choice", "--choices", "10"], "--choices 10"),
        (["--design", "choice", "--choices", "-1"], "--choices -1"),
        (["--language", "."], ". is no JSON"),
    ],
)
def test_a_study_that_cannot_be_asked_or_scored_is_refused_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = write_run(tmp_path / "run")
    assert main(["readers", "make", str(run), *arguments]) == 1
    refused_in_one_line(capsys, message)
    assert not (run / "reader_study").exists()


def refused_in_one_line(capsys: pytest.CaptureFixture, message: str) -> None:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


@pytest.mark.parametrize(("count", "size"), [(1, 48), (3, 48), (0, 48), (40, 16), (40, 17)])
def test_images_whose_encoding_cannot_be_checked_are_refused(
    count: int, size: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    few = {
        name: textured(max(count, 1), seed, size)[:count]
        for seed, name in enumerate(("train", "synthetic"))
    }
    run = write_run(tmp_path / "run", **few)
    assert main(["readers", "make", str(run), "--class", "benign", "--trials", "4"]) == 1
    message = {40: f"{size} x {size}", 3: "3 real"}.get(count, f"there are {count}")
    refused_in_one_line(capsys, message)
    assert not (run / "reader_study").exists()


@pytest.mark.parametrize("size", ["0", "-3", "16"])
def test_a_size_that_is_none_is_refused(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folders = [str(write_files(tmp_path / name, 4, seed)) for seed, name in enumerate("ab")]
    assert main(["readers", "make", *folders, "--size", size, "--out", str(tmp_path / "o")]) == 1
    refused_in_one_line(capsys, f"--size {size}")


def write_files(folder: Path, count: int, seed: int, cls: str = "") -> Path:
    (folder / cls).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(textured(count, seed, 32)):
        Picture.fromarray(image).save(folder / cls / f"{folder.name}-{number}.png")
    return folder


@pytest.mark.parametrize("alike", [True, False])
def test_the_key_names_each_image_and_the_page_none(alike: bool, tmp_path: Path) -> None:
    """Also where the two folders have other classes, so that all their images are one."""
    real, synthetic = tmp_path / "clinic", tmp_path / "model"
    for place, cls in enumerate(("one", "two")):
        write_files(real, 12, place, cls)
        write_files(synthetic, 12, place + 2, cls if alike else f"other-{cls}")
    out = tmp_path / "study"
    assert main(["readers", "make", str(real), str(synthetic), "--out", str(out), "--size", "32",
                 "--trials", "16", "--repeats", "0"]) == 0  # fmt: skip
    page, key = (out / "study.html").read_text(), read_csv(out / "key.csv")
    pictures = content(page)
    for trial, row in zip(pictures["trials"], key.to_dict("records"), strict=True):
        folder = real if row["image_set"] == REAL else synthetic
        shown = pictures["images"][trial["images"][0]].removeprefix("data:image/png;base64,")
        seen = Picture.open(io.BytesIO(base64.b64decode(shown)))
        assert (np.asarray(seen) == np.asarray(Picture.open(folder / row["image"]))).all()
        assert Path(row["image"]).stem not in page
    file = answer_file(tmp_path, key, "r1", [1] * 16)
    assert main(["readers", "score", str(file), "--key", str(out / "key.csv")]) == 0
    scored = read_csv(out / "reader_study_images.csv")
    assert set(scored["image"]) == set(key["image"])
    # A key from before images had names there is still scored.
    key.drop(columns="image").to_csv(out / "key.csv", index=False)
    assert main(["readers", "score", str(file), "--key", str(out / "key.csv")]) == 0


def test_images_of_a_run_have_the_names_of_their_rows(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pd.DataFrame({"id": [f"2018/ISIC_{n}" for n in range(40)]}).to_csv(
        run / "data/images/train/benign.csv", index=False
    )
    assert main(["readers", "make", str(run), "--class", "benign", "--trials", "8"]) == 0
    key = read_csv(run / "reader_study/key.csv")
    synthetic = key["image_set"] == SYNTHETIC
    rows = key["row"].astype(str)
    assert (
        key["image"] == ("2018/ISIC_" + rows).where(~synthetic, "synthetic/benign.npy#" + rows)
    ).all()


def test_a_key_that_is_none_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, key = make_key(tmp_path, "single", 8)
    answers = answer_file(tmp_path, key, "r1", [1] * key["trial"].nunique())
    capsys.readouterr()
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    key.assign(target="x").to_csv(tmp_path / "words.csv", index=False)
    for name in ("folder", "other.csv", "words.csv", "none.csv"):
        assert main(["readers", "score", str(answers), "--key", str(tmp_path / name)]) == 1
        refused_in_one_line(capsys, name)


def test_imrmc_input_counts_what_it_holds(tmp_path: Path) -> None:
    _, key = make_key(tmp_path, "single", 16)
    chance = np.random.default_rng(0)
    files = [
        answer_file(tmp_path, key, name, chance.integers(1, 7, key["trial"].nunique()).tolist())
        for name in ("a", "b", "c")
    ]
    answers = read_answers(files, key)
    text = imrmc_input(answers, key)
    assert text is not None
    head, data = text.split("BEGIN DATA:\n")
    sizes = dict(re.findall(r"^(N[01RM]): (\d+)$", head, re.M))
    rows = pd.read_csv(io.StringIO(data), names=["reader", "case", "modality", "score"])
    truth = rows[rows["reader"] == -1]
    assert {k: int(v) for k, v in sizes.items()} == {"N0": 8, "N1": 8, "NR": 3, "NM": 1}
    assert truth["score"].sum() == 8
    assert truth["case"].is_unique
    ratings = rows[rows["reader"] != -1]
    assert len(ratings) == 3 * 16
    # The area under the curve of each reader comes out of the file alone.
    table = reader_table(answers, key)
    for number, name in enumerate("abc", 1):
        own = ratings[ratings["reader"] == number].set_index("case")["score"]
        area = roc_auc_score(truth.set_index("case")["score"], own.sort_index())
        row = table[(table["reader"] == name) & (table["metric"] == "roc_auc")]
        assert row["value"].item() == pytest.approx(area)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["single", "choice"])
def test_simulated_readers_of_known_d_prime_are_recovered(design: str, tmp_path: Path) -> None:
    """Through the files: per reader, and over readers, in 92 % of the intervals or more."""
    _, key = make_key(tmp_path, design, 120, choices=3)
    trials = key.drop_duplicates("trial")
    chance = np.random.default_rng(3)
    inside: dict[str, list[bool]] = {"reader": [], "all": []}
    for study in range(25):
        true = chance.normal(1.0, 0.3, 5).clip(0)
        files = []
        for number, d_prime in enumerate(true):
            if design == "single":
                seen = chance.normal(d_prime * trials["target"].to_numpy())
                answers = 1 + np.searchsorted(np.array([-0.6, 0, 0.5, 1, 1.7]), seen)
            else:
                seen = chance.normal(size=(len(trials), 3))
                seen[np.arange(len(trials)), trials["target"]] += d_prime
                answers = 1 + seen.argmax(axis=1)
            files.append(answer_file(tmp_path, key, f"s{study}r{number}", answers.tolist()))
        table = reader_table(read_answers(files, key), key)
        rows = table[table["metric"] == "d_prime"].set_index("reader")
        for number, d_prime in enumerate(true):
            row = rows.loc[f"s{study}r{number}"]
            inside["reader"].append(row["ci_low"] <= d_prime <= row["ci_high"])
        row = rows.loc["all"]
        inside["all"].append(row["ci_low"] <= 1.0 <= row["ci_high"])
    assert np.mean(inside["reader"]) >= 0.92
    assert np.mean(inside["all"]) >= 0.92
