"""Sets that lack something: they count as what they are, and one line says so before any work."""

import functools
import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import meddiff
from hospital import dicom, saved
from meddiff.assessment.numbers import check_numbers
from meddiff.assessment.splitting import split_real
from meddiff.cli import main
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet
from meddiff.data.listing import list_images
from meddiff.extractors.skinlesnet import SkinLesNet

SMALL = ["--extractor", "none", "--size", "16", "--n-resamples", "4"]


def blots(n: int, seed: int) -> np.ndarray:
    """Images of 4 x 4 random squares, uint8 (n,16,16,1)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 1), dtype=np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


def written(folder: Path, names: list[str], seed: int = 0) -> Path:
    for name, image in zip(names, blots(len(names), seed), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / name)
    return folder


def table(folder: Path, **columns: list[str]) -> Path:
    images = written(folder, [f"{n}.png" for n in range(len(next(iter(columns.values()))))])
    rows = pd.DataFrame({"id": range(len(list(images.iterdir()))), **columns})
    rows.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def hospital(folder: Path, png: bool) -> Path:
    for number, image in enumerate(blots(4, 0)[..., 0]):
        saved(folder / f"{number}.dcm", dicom(image, PatientID=f"p{number // 2}"))
    if png:
        written(folder, ["4.png"], 9)
    else:
        unknown = {"PatientID": "", "StudyInstanceUID": ""}
        saved(folder / "4.dcm", dicom(blots(1, 9)[0, ..., 0], **unknown))
    return folder


@pytest.mark.parametrize(
    "source",
    [
        lambda path: table(path, patient=["a", "a", "b", "b", ""]),
        lambda path: hospital(path, png=False),
        lambda path: hospital(path, png=True),
    ],
    ids=["empty cell", "no PatientID", "PNG among DICOMs"],
)
def test_an_image_without_a_group_stands_alone(source, tmp_path, caplog) -> None:
    listing = list_images(source(tmp_path))
    images = listing.image_set(listing.pixels(crop=None, size=16))
    groups = images.groups
    assert groups[0] == groups[1] != groups[2] == groups[3] and len(set(groups)) == 3
    assert re.search(r"\b1 of 5 .*patient", caplog.text)
    other = ImageSet(blots(5, 1), groups=(None, "a", "b", float("nan"), pd.NA))
    assert len({*groups, *other.groups}) == 3 + 5 - len({*groups} & {"a", "b"})


def test_patients_do_not_leak_where_one_image_has_none(tmp_path) -> None:
    groups = [f"p{n % 40}" if n else "" for n in range(80)]
    listing = list_images(table(tmp_path, label=["a", "b"] * 40, patient=groups))
    real = listing.image_set(listing.pixels(crop=None, size=16))
    split = split_real(real, None, seed=0)
    of_image = dict(zip((each.tobytes() for each in real.images), groups, strict=True))
    parts = [
        {of_image[each.tobytes()] for each in part.images} - {""}
        for part in (split.train, split.validation, split.test)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


def test_an_image_without_a_label_is_left_out_and_classes_stay(tmp_path, capsys, caplog) -> None:
    labels = ["a", "b"] * 10 + [""]
    paths = [table(tmp_path / name, label=labels) for name in ("real", "synthetic")]
    assert main(["evaluate", *map(str, paths), *SMALL, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert {row["class"] for row in output["scores"]} == {"all", "a", "b"}
    assert output["sets"]["real"]["n_images"] == 20
    assert len(re.findall(r"\b1 of 21 .*label.*: 20$", caplog.text, re.M)) == 2
    listing = list_images(paths[0])
    images = listing.image_set(listing.pixels(crop=None, size=16))
    assert len(images) == 20 and images.labels == tuple(labels[:20])
    with pytest.raises(MeddiffError, match=r"^labels: 1 of 2 "):
        ImageSet(blots(2, 0), labels=("a", None))


@pytest.mark.parametrize("name", ["all", "mean"])
def test_names_that_tables_need_are_no_classes(name, tmp_path, capsys) -> None:
    files = [f"{label}/{n}.png" for label in (name, "b") for n in range(8)]
    paths = [written(tmp_path / x, files, seed) for seed, x in enumerate(("real", "synthetic"))]
    assert main(["evaluate", *map(str, paths), *SMALL]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(rf"{paths[0]}: .*\b{name},.*rename", line)
    labels = (name,) * 8 + ("b",) * 8
    sets = [ImageSet(blots(16, seed), labels=labels) for seed in (0, 1)]
    with pytest.raises(MeddiffError, match=rf"\b{name},.*rename"):
        meddiff.evaluate(*sets)
    alone = [ImageSet(blots(16, 0), labels=labels), blots(16, 1)]
    assert set(meddiff.evaluate(*alone, n_resamples=4).scores["class"]) == {"all"}


@pytest.mark.parametrize(
    ("real", "synthetic", "words"),
    [
        ("abcdefg", "", r"real: a, b, c, d, e .*\b2 more; synthetic: none"),
        ("ab", "ac", "real: a, b; synthetic: a, c"),
        ("ab", "ab+", r"synthetic: none, .*\b1 .*\bx\.png"),
        ("ab", "ab", ""),
    ],
)
def test_one_line_says_why_there_are_no_rows_per_class(
    real, synthetic, words, tmp_path, caplog
) -> None:
    paths = []
    for name, folders in (("real", real), ("synthetic", synthetic)):
        kinds = folders.strip("+") or "."
        files = [f"{kind}/{n}{kind.strip('.')}.png" for kind in kinds for n in range(9)]
        files += ["x.png"] if folders.endswith("+") else []
        paths.append(str(written(tmp_path / name, files)))
    assert main(["evaluate", *paths, *SMALL]) == 0
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == bool(words) and re.search(words, "".join(lines))


def test_numbered_folders_are_patients_where_sets_have_no_classes(tmp_path, caplog) -> None:
    real = written(tmp_path / "r", [f"sub-{n // 3}/{'abc'[n % 3]}.png" for n in range(24)])
    synthetic = written(tmp_path / "s", [f"{n}.png" for n in range(9)], 1)
    assert main(["evaluate", str(real), str(synthetic), *SMALL]) == 0
    assert re.search(r"\b24 of 24 .*--groups '", caplog.text)


@pytest.mark.parametrize("column", ["image", "id", "filename", "file", "image_name"])
@pytest.mark.parametrize("folder", ["", "part_1/"])
def test_a_column_may_hold_names_of_files(column, folder, tmp_path, caplog) -> None:
    written(tmp_path, [f"{folder}{n}.png" for n in range(3)])
    (tmp_path / "t.csv").write_text(f"{column},dx\n0.png,nv\n1.png,mel\n9.png,nv\n2.png,mel\n")
    rows = list_images(tmp_path / "t.csv").rows
    assert rows["member"].tolist() == [f"{folder}{n}.png" for n in range(3)]
    assert rows["label"].tolist() == ["nv", "mel", "mel"]
    assert re.search(r"\b1 rows .*\b9\b", caplog.text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,dx\n0,nv\n", r"t\.csv .* name, dx: rename"),
        ("id,dx\n07,nv\n", r"\b07 \(row 2\) .*\b7\.png"),
        ("path,dx\nx/7.png,nv\n7.png,nv\ny/8.png,nv\n", ""),
        ("id,dx\n8,nv\n", r"\b8 \(row 2\).*\badd\b"),
    ],
)
def test_advice_on_tables_is_in_words_of_the_command(text, words, tmp_path, capsys) -> None:
    written(tmp_path, ["7.png"])
    (tmp_path / "t.csv").write_text(text)
    assert main(["evaluate", str(tmp_path / "t.csv"), str(tmp_path), *SMALL]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "data.folder" not in line and "configuration" not in line
    assert re.search(words, line)


def test_metadata_of_ham10000_beside_a_part_of_its_images(tmp_path, caplog) -> None:
    names = [f"ISIC_00{n}" for n in range(24306, 24336)]
    written(tmp_path, [f"HAM10000_images_part_1/{name}.jpg" for name in names[::2]])
    text = "".join(f"HAM_{n // 3},{name},{'nv' if n % 2 else 'mel'}\n"
                   for n, name in enumerate(names))  # fmt: skip
    (tmp_path / "HAM10000_metadata.csv").write_text(f"lesion_id,image_id,dx\n{text}")
    assert list_images(tmp_path).rows["id"].tolist() == names[::2]
    assert "15 rows" in caplog.text


@pytest.mark.parametrize("count", [1, 2, 3])
def test_real_images_of_few_patients_cannot_be_judged(count, tmp_path) -> None:
    groups = tuple(f"p{n % count}" for n in range(24))
    sets = ImageSet(blots(24, 0), groups=groups), ImageSet(blots(24, 1))
    result = meddiff.evaluate(*sets, {"levels": Levels()}, n_resamples=8)
    assert "judged" in result.answer
    assert ("one patient" if count == 1 else f"{count} patients") in result.answer
    rows = result.scores[result.scores["metric"] == "authpct"]
    images = result.images.set_index("image_set")["authentic"]
    assert len(rows) == (count > 1) and images["synthetic"].isna().all() == (count == 1)
    assert images["real"].isna().all() == (count < 3)
    if count > 1:
        assert rows["floor"].isna().all() == (count == 2) and rows["value"].iloc[0] > 0
    meddiff.write_report(tmp_path / "r.html", result, *sets)
    assert ("Novel (authentic)" in (tmp_path / "r.html").read_text()) == (count > 1)


class Levels:
    """Grey levels as features."""

    metrics = ()

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return images[:, ::4, ::4].reshape(len(images), -1) / 60


def half_alike(real: ImageSet) -> ImageSet:
    """Unseen images of which those of class b are of REAL's patients."""
    labels = real.labels
    groups = [real.groups[n] if labels[n] == "b" else f"u{n}" for n in range(len(real))]
    return ImageSet(blots(len(real), 5), labels=labels, groups=groups)


REAL = ImageSet(blots(60, 0), labels=["a", "b"] * 30, groups=[f"p{n}" for n in range(60)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unseen": REAL}, r"class a: .*\btest\b.*\b60 unseen"),
        ({"unseen": half_alike(REAL)}, r"class b: .*\btest\b.*\b30 unseen"),
        ({"unseen": ImageSet(blots(9, 2), labels=["a"] * 9)}, "unseen: a"),
        ({"unseen": blots(9, 2)}, "two classes"),
        ({"synthetic": blots(60, 1)[:, :8, :8]}, r"\(16, 16, 1\).*\(8, 8, 1\)"),
        ({"synthetic": blots(60, 1).repeat(3, 3)}, r"\(16, 16, 3\)"),
        ({"unseen": blots(60, 1)[:, :8]}, r"unseen ones \(8, 16, 1\)"),
        ({"n_resamples": 3}, "n_resamples is 3"),
    ],
)
def test_nothing_is_trained_on_sets_that_do_not_fit(change, words, monkeypatch) -> None:
    monkeypatch.setattr("meddiff.assessment.training._Experiment.predictions", None)
    synthetic = ImageSet(blots(60, 1), labels=REAL.labels)
    if "synthetic" in change:
        change = {"synthetic": ImageSet(change["synthetic"], labels=REAL.labels)}
    with pytest.raises(MeddiffError, match=words):
        meddiff.evaluate(**{"real": REAL, "synthetic": synthetic, **change}, train=True)


def test_unseen_images_that_are_real_ones_are_refused_in_words_of_the_command() -> None:
    with pytest.raises(MeddiffError, match="60 of 60 unseen") as error:
        meddiff.evaluate(REAL, blots(9, 1), unseen=REAL)
    assert "protocol" not in str(error.value)


@pytest.mark.parametrize(
    "bad", ["real", [[1, 2]], blots(9, 0).tolist(), blots(9, 0) / 255, blots(9, 0)[..., 0],
            blots(9, 0).repeat(2, 3), None]
)  # fmt: skip
@pytest.mark.parametrize("place", ["real", "synthetic", "unseen"])
def test_what_are_no_images_is_one_line(bad, place) -> None:
    if bad is None and place == "unseen":
        return
    sets = {"real": blots(9, 0), "synthetic": blots(9, 1), "unseen": blots(9, 2), place: bad}
    for call in (meddiff.evaluate, functools.partial(meddiff.evaluate, train=True)):
        with pytest.raises(MeddiffError, match=r"uint8 .*\(n, height, width, 1 or 3\)"):
            call(**sets)


def test_extractors_have_names() -> None:
    with pytest.raises(MeddiffError, match=r"\bstr\b.*load_extractor"):
        meddiff.evaluate(blots(9, 0), blots(9, 1), "inception")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resize", "clean-fid", "--size", "32"], "--size 32"),
        (["--resize", "clean-fid", "--extractor", "dinov2"], "--extractor inception"),
        (["--resize", "clean-fid", "--extractor", "none"], "--extractor inception"),
        (["--fail-below", "accuracy=1"], "--train"),
        (["--extractor", "none", "--fail-below", "scroe=0.8"], "no number scroe"),
        (["--extractor", "none", "--fail-below", "score=0.8"], "no number score"),
        (["--extractor", "none", "--fail-below", "kid=0.8"], "no number kid"),
        (["--extractor", "none", "--size", "16", "--fail-below", "ms_ssim within real=0"],
         "no number ms_ssim within real"),
        (["--extractor", "NET", "--fail-below", "cmmd=0"], "no number cmmd"),
        (["--extractor", "NET", "--fail-below", "inception_score=0"], "no number inception_score"),
        (["--extractor", "NET", "--fail-below", "cafd=0"], "no number cafd"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_before_any_image_is_read(
    options, words, tmp_path, capsys, monkeypatch
) -> None:
    about = {"extractor": "skinlesnet", "classes": 2, "size": 16}
    net = tmp_path / "net.safetensors"
    save_checkpoint(net, SkinLesNet(2, 16).state_dict(), about)
    images = written(tmp_path / "i", [f"{n}.png" for n in range(24)])
    monkeypatch.setattr("meddiff.data.listing.Listing.pixels", None)
    options = [str(net) if each == "NET" else each for each in options]
    assert main(["evaluate", str(images), str(images), *options]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_every_number_of_a_run_may_be_a_limit(tmp_path) -> None:
    """Whatever metrics there are: what a run has is known before it."""
    labels = ["a", "b"] * 20
    sets = [ImageSet(plain(40, seed), labels=labels) for seed in (0, 1)]
    net = Published()
    result = meddiff.evaluate(*sets, {"clip": net}, n_resamples=8, ssim_images=8)
    names = {*result.scores["metric"], "score"}
    assert {"cafd", "cmmd", "inception_score", "fid_infinity", "ms_ssim within real"} <= names
    counts = {"real": 40, "synthetic": 40}
    check_numbers(names, {"clip": net}, counts, side=None, classes=True)
    few = {"real": 8, "synthetic": 8}
    with pytest.raises(MeddiffError, match="no number coverage"):
        check_numbers(["coverage"], {"clip": net}, few, side=None, classes=True)
    net.dimension = 2048
    with pytest.raises(MeddiffError, match="no number fid_infinity"):
        check_numbers(["fid_infinity"], {"clip": net}, counts, side=None, classes=True)
    check_numbers(
        names - {"cafd"}, {"clip": net}, dict.fromkeys(counts, 20000), side=None, classes=False
    )


def plain(n: int, seed: int) -> np.ndarray:
    """Images of one level each and of 32 px."""
    levels = np.random.default_rng(seed).integers(0, 256, (n, 1, 1, 1), dtype=np.uint8)
    return levels.repeat(32, 1).repeat(32, 2)


class Published:
    metrics, dimension = ("cmmd", "inception_score"), 2

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], axis=1)

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.full((len(features), 2), 0.5)


def test_a_page_says_the_seed_and_has_no_empty_part(tmp_path) -> None:
    paths = [str(written(tmp_path / x, [f"{n}.png" for n in range(9)], n))
             for n, x in enumerate("rs")]  # fmt: skip
    page = tmp_path / "p.html"
    assert main(["evaluate", *paths, *SMALL, "--seed", "0", "--report", str(page)]) == 0
    text = page.read_text()
    assert re.search(r"<dt>--seed</dt>\s*<dd>0</dd>", text) and "<dt>--train</dt>" not in text
    assert re.search(r"<dt>--extractor</dt>\s*<dd>none</dd>", text)
    assert not re.search(r"</h2>\s*<h2|<p>\s*(<span|</p>)", text)
