"""Two image sets scored by themselves: what the numbers are, and the command."""

import io
import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meddiff.cli import main
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet
from meddiff.data.registry import read_registry
from meddiff.evaluation.evaluate import ScoredSets, evaluate
from meddiff.evaluation.image_sets import read_image_set
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.metrics import cmmd, fid, ssim_pairs


def spots(n: int, seed: int, *, side: int = 32) -> np.ndarray:
    """Dark spots of random place and size on skin."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centre, radius = chance.uniform(10, 22, (2, n, 1, 1)), chance.uniform(3, 9, (n, 1, 1))
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    skin = np.where(inside[..., None], (90, 60, 50), (220, 180, 160))
    return (skin + chance.normal(0, 4, (n, side, side, 3))).clip(0, 255).astype(np.uint8)


def coarse(images: np.ndarray) -> np.ndarray:
    """Means of 8x8 squares: features without a net."""
    n, side = images.shape[:2]
    squares = images.reshape(n, side // 8, 8, side // 8, 8, 3).mean((2, 4))
    return squares.reshape(n, -1)


class Toy:
    """Features, and perhaps probabilities, by functions of arrays."""

    def __init__(self, features, probabilities=None, metrics=()) -> None:
        self._features, self._probabilities, self.metrics = features, probabilities, metrics

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return self._features(images)

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return self._probabilities(features)


COARSE = {"coarse": Toy(coarse)}


def scores(result: ScoredSets) -> dict[str, dict]:
    return {row["metric"]: row for row in result.to_dict()["scores"]}


def test_more_real_images_score_as_real_and_noise_as_noise() -> None:
    real = spots(120, 0)
    near = scores(evaluate(real, spots(60, 1), COARSE, n_resamples=20))
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    far = scores(evaluate(real, noise, COARSE, n_resamples=20))
    for metric in ("fid", "kid"):
        assert near[metric]["score"] == pytest.approx(1, abs=0.1)
        assert far[metric]["score"] < 0.5
        assert near[metric]["ci_low"] <= near[metric]["value"] <= near[metric]["ci_high"]
    assert near["fid"]["value"] == pytest.approx(fid(coarse(real), coarse(spots(60, 1))))
    assert near["coverage"]["value"] > 0.7 > far["coverage"]["value"] == 0
    expected = ssim_pairs(spots(60, 1), kernel_size=11).mean()
    assert near["ssim within synthetic"]["value"] == pytest.approx(expected)


def test_copies_are_reported() -> None:
    training, unseen = spots(60, 0), spots(40, 1)
    honest = evaluate(training, spots(40, 2), {}, unseen=unseen, n_resamples=20)
    assert honest.memorisation.verdict == "no copies"
    for orientation in (training, training[:, :, ::-1], np.rot90(training, axes=(1, 2))):
        copied = evaluate(training, orientation[:40], {}, unseen=unseen, n_resamples=20)
        assert copied.memorisation.verdict == "copies"
        assert copied.memorisation.identical == 40
        assert copied.memorisation.nearest.tolist() == list(range(40))


def test_copies_are_reported_beside_other_real_images_alone() -> None:
    """Without unseen images: each real one beside those of other groups."""
    real = spots(60, 0)
    assert evaluate(real, spots(40, 2), {}, n_resamples=20).memorisation.verdict == "no copies"
    copied = evaluate(real, real[:25, :, ::-1], {}, n_resamples=20).memorisation
    assert (copied.verdict, copied.identical) == ("copies", 25)
    twice = np.concatenate([real, real ^ 1])
    blind = evaluate(twice, spots(40, 2), {}, n_resamples=20)
    assert blind.memorisation is None and "--groups" in blind.left_out["copies"]
    groups = tuple(f"p{n % 60}" for n in range(120))
    aware = evaluate(ImageSet(twice, groups=groups), real[:25, :, ::-1], {}, n_resamples=20)
    assert (aware.memorisation.verdict, aware.memorisation.identical) == ("copies", 25)


def encoded(image: np.ndarray) -> np.ndarray:
    """The image from a JPEG of four times its size, as photographs are encoded anew."""
    buffer = io.BytesIO()
    Image.fromarray(image.repeat(4, axis=0).repeat(4, axis=1)).save(buffer, "JPEG", quality=75)
    side = len(image)
    return np.array(Image.open(buffer)).reshape(side, 4, side, 4, 3).mean((1, 3)).astype(np.uint8)


@pytest.mark.parametrize("planted", [0, 1, 3])
@pytest.mark.parametrize("how", ["exact", "jpeg", "one level"])
def test_copies_are_reported_whatever_duplicates_unseen_images_hold(planted, how) -> None:
    training, unseen = spots(60, 0), spots(40, 1)
    changes = {
        "exact": lambda image: image,
        "jpeg": encoded,
        "one level": lambda image: (image ^ 1).astype(np.uint8),
    }
    for place in range(planted):
        unseen[place] = changes[how](training[place])
    output = evaluate(training, np.rot90(training[20:45], axes=(1, 2)), {}, unseen=unseen,
                    n_resamples=20).memorisation  # fmt: skip
    assert (output.verdict, output.identical, output.leaked) == ("copies", 25, planted)
    honest = evaluate(training, spots(40, 2), {}, unseen=unseen, n_resamples=20).memorisation
    assert honest.verdict == "no copies" and honest.leaked == planted


def test_scores_of_published_nets_alone() -> None:
    """Inception Score where classes are told, CMMD of CLIP's embeddings."""
    real, synthetic = spots(30, 0), spots(20, 1)

    def sure(features: np.ndarray) -> np.ndarray:
        return np.eye(2)[np.arange(len(features)) % 2]

    output = evaluate(
        real, synthetic, {"clip": Toy(coarse, metrics=["cmmd"]),
                          "other": Toy(coarse, sure, ["inception_score"])},
        n_resamples=20,
    ).to_dict()["scores"]  # fmt: skip
    extra = {(row["metric"], row["extractor"]): row["value"] for row in output}
    assert extra["cmmd", "clip"] == pytest.approx(cmmd(coarse(real), coarse(synthetic)))
    assert extra["inception_score", "other"] == pytest.approx(2)
    assert ("cmmd", "other") not in extra and ("inception_score", "clip") not in extra


def test_no_score_where_noise_is_no_farther_than_real_images() -> None:
    """Blind features: every distance is 0, nothing lies between the ends."""
    blind = {"blind": Toy(lambda images: np.ones((len(images), 3)))}
    result = evaluate(spots(20, 0), spots(20, 1), blind, n_resamples=20)
    assert scores(result)["fid"]["score"] is None
    assert scores(result)["fid"]["value"] == 0


def test_sets_of_different_shape_are_refused() -> None:
    with pytest.raises(MeddiffError, match=r"\(32, 32, 3\).*unseen.*\(16, 16, 3\)"):
        evaluate(spots(9, 0), spots(9, 1), {}, unseen=spots(9, 2, side=16), n_resamples=20)


@pytest.mark.parametrize("counts", [(9, 1), (1, 9)])
def test_a_single_image_is_refused_with_the_minimum(counts) -> None:
    with pytest.raises(MeddiffError, match=r"images: 1\b.* 2 or more"):
        evaluate(spots(counts[0], 0), spots(counts[1], 1), COARSE, n_resamples=8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """PNG of real and synthetic images, the latter in folders below."""
    sets = {"real": spots(14, 0, side=48), "synthetic/a": spots(9, 1, side=48),
            "unseen": spots(8, 2, side=48)}  # fmt: skip
    for name, images in sets.items():
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:02}.png")
    (tmp_path / "real/notes.txt").write_text("no image")
    return tmp_path / "real", tmp_path / "synthetic"


def test_folders_are_read_in_the_order_of_their_names(folders: tuple[Path, Path]) -> None:
    images = read_image_set(folders[0], crop=None, size=48)
    assert np.array_equal(images, spots(14, 0, side=48))
    assert np.array_equal(read_image_set(str(folders[0]), crop=None, size=48), images)
    assert read_image_set(folders[1], crop=32, size=16).shape == (9, 16, 16, 3)


@pytest.mark.parametrize("size", [10**6, 10**10])
def test_a_size_that_memory_cannot_hold_is_one_line(folders, capsys, size: int) -> None:
    arguments = ["evaluate", *map(str, folders), "--extractor", "none", "--size", str(size)]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and str(size) in line and "--size" in line


def test_the_command_prints_a_table_or_json(folders, capsys) -> None:
    arguments = ["evaluate", *map(str, folders), "--extractor", "none", "--size", "32",
                 "--n-resamples", "20"]  # fmt: skip
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "14 real" in text and "9 synthetic" in text and "32x32 px" in text
    assert "SSIM within synthetic" in text and "--unseen" in text and "NaN" not in text
    assert main([*arguments, "--unseen", str(folders[0].parent / "unseen"), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["sets"]["synthetic"]["n_images"] == 9 and output["seed"] == 0
    assert output["memorisation"]["suspects"] >= 0
    assert main([*arguments, "--unseen", str(folders[0].parent / "unseen")]) == 0
    assert re.search(r"\d+ of 9 synthetic .*closer", capsys.readouterr().out)
    assert main([*arguments, "--unseen", str(folders[0])]) == 1
    assert "14 of 14 unseen" in capsys.readouterr().err


def test_a_grey_array_is_compared_with_a_folder_in_three_channels(folders, tmp_path, capsys):
    grey = spots(9, 1)[..., :1]
    np.save(tmp_path / "grey.npy", grey)
    np.save(tmp_path / "rgb.npy", np.concatenate([grey] * 3, axis=-1))
    printed = []
    for name in ("grey", "rgb"):
        arguments = ["--extractor", "none", "--size", "32", "--n-resamples", "8", "--json"]
        assert main(["evaluate", str(folders[0]), str(tmp_path / f"{name}.npy"), *arguments]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0]["scores"] == printed[1]["scores"] and printed[0]["pixels"] == [32, 32, 3]


def test_two_nets_of_one_kind_are_both_scored(folders, tmp_path, capsys) -> None:
    """Grey images and a net for colours as well: they are repeated over its channels."""
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        files.append(str(tmp_path / f"net{seed}.safetensors"))
        about = {"extractor": "skinlesnet", "classes": 2, "size": 32}
        save_checkpoint(files[-1], SkinLesNet(2, 32).state_dict(), about)
    grey = tmp_path / "grey.npy"
    np.save(grey, spots(12, 5)[..., :1])
    assert main(["evaluate", str(grey), str(grey), "--extractor", files[0], "--extractor",
                 files[1], "--n-resamples", "8", "--json"]) == 0  # fmt: skip
    output = json.loads(capsys.readouterr().out)
    names = {row["extractor"] for row in output["scores"]} - {None}
    assert names == {"skinlesnet", files[1]}
    fids = [row["value"] for row in output["scores"] if row["metric"] == "fid"]
    assert fids == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize(
    ("side", "metrics"), [(1, set()), (2, {"ssim"}), (31, {"ssim"}), (32, {"ssim", "ms_ssim"})]
)
def test_images_too_small_for_a_window_have_no_row_but_a_reason(side, metrics) -> None:
    result = evaluate(spots(9, 0)[:, :side, :side], spots(9, 1)[:, :side, :side], {}, n_resamples=8)
    output = {f"{metric} within {key}" for metric in metrics for key in ("real", "synthetic")}
    assert set(scores(result)) == output
    assert set(result.left_out) == {"ssim", "ms_ssim"} - metrics


def shuffled(images: np.ndarray, seed: int) -> np.ndarray:
    return images[np.random.default_rng(seed).permutation(len(images))]


def test_the_order_of_images_changes_no_number() -> None:
    """More images than pairs are taken of, an odd number, more synthetic ones than half of them."""
    real, synthetic, unseen = spots(41, 0), spots(60, 1), spots(20, 2)

    def output(seed: int) -> dict:
        sets = (shuffled(images, seed) for images in (real, synthetic))
        return evaluate(*sets, SHARES, ssim_images=25,
                        unseen=shuffled(unseen, seed), n_resamples=20).to_dict()  # fmt: skip

    first, *others = (output(seed) for seed in range(4))
    assert {"matched", "score", "floor"} <= first["scores"][0].keys()
    for other in others:
        assert other["scores"] == first["scores"]
        same = {key: value for key, value in first["memorisation"].items() if key != "nearest"}
        assert same == {key: other["memorisation"][key] for key in same}


SHARES = {"coarse": Toy(coarse, lambda features: shares(features), ["inception_score"])}


def shares(features: np.ndarray) -> np.ndarray:
    return features[:, :3] / features[:, :3].sum(axis=1, keepdims=True)


def test_every_number_of_images_has_an_interval() -> None:
    result = evaluate(spots(40, 0), spots(40, 1), SHARES, n_resamples=40)  # fmt: skip
    for row in result.to_dict()["scores"]:
        if row["metric"] in ("fid_infinity", "authpct"):
            continue
        for name in ("value", "floor", "ceiling", "matched", "score"):
            if row.get(name) is not None:
                low, high = (row[("" if name == "value" else f"{name}_") + end]
                             for end in ("ci_low", "ci_high"))  # fmt: skip
                assert low <= row[name] <= high, (row["metric"], name)


def test_nearest_images_are_reported_in_the_order_given() -> None:
    training, copies = spots(30, 0), spots(30, 0)[::-1]
    result = evaluate(training, copies, {}, unseen=spots(20, 1), n_resamples=20)
    assert result.memorisation.nearest.tolist() == list(range(30))[::-1]


@pytest.mark.parametrize("bad", [{"ssim_images": 3}, {"ssim_images": 9.5}, {"n_resamples": 3}])
def test_bad_numbers_are_named(bad) -> None:
    [(name, value)] = bad.items()
    with pytest.raises(MeddiffError, match=rf"{name} is {value}"):
        evaluate(spots(9, 0), spots(9, 1), {}, **bad)


def test_ends_that_cannot_be_told_apart_have_no_score_but_a_note() -> None:
    """Noise as near as real images, by a hair or by chance: no difference to be a scale."""
    chance = np.random.default_rng(0)
    blur = {"noise": Toy(lambda images: chance.normal(size=(len(images), 4)))}
    sets = spots(24, 0)[:, :8, :8], spots(24, 1)[:, :8, :8]
    output = [scores(evaluate(*sets, blur, n_resamples=40)) for _ in range(10)]
    for metric in ("fid", "kid"):
        rows = [result[metric] for result in output]
        without = [row for row in rows if row["score"] is None]
        assert len(without) >= 8
        assert all(row["note"] and row["floor"] is not None for row in without)
        assert all(row["ceiling"] > row["floor"] for row in rows if row["score"] is not None)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_folder_whose_name_is_no_utf_8(folders, tmp_path, encoding, monkeypatch) -> None:
    # What the log holds is shown with a report, which workers send as UTF-8.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    named = os.fsencode(tmp_path) + b"/r\xe9el"
    folders[0].rename(os.fsdecode(named))
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, encoding=encoding, errors="strict"))
    arguments = ["evaluate", os.fsdecode(named), str(folders[1]), "--extractor", "none",
                 "--size", "32", "--n-resamples", "8"]  # fmt: skip
    assert main(arguments) == 0
    assert b"el)" in buffer.getvalue() and buffer.getvalue().decode(encoding)
    buffer.truncate(0), buffer.seek(0)
    assert main([*arguments, "--json"]) == 0
    path = json.loads(buffer.getvalue())["sets"]["real"]["path"]
    assert path.encode("utf-8").startswith(os.fsencode(tmp_path))


def test_each_net_gets_images_of_its_own_size(folders, tmp_path, capsys) -> None:
    files = {}
    for size in (16, 32):
        files[size] = str(tmp_path / f"net{size}.safetensors")
        about = {"extractor": "skinlesnet", "classes": 2, "size": size}
        save_checkpoint(files[size], SkinLesNet(2, size).state_dict(), about)
    arguments = ["evaluate", *map(str, folders), "--n-resamples", "8", "--extractor", files[32]]
    assert main([*arguments, "--extractor", files[16], "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    sizes = {name: entry["size"] for name, entry in output["extractors"].items()}
    assert sizes == {"skinlesnet": 32, files[16]: 16}
    assert output["pixels"] == [48, 48, 3], "SSIM at the size of the files"
    [own] = [r for r in output["scores"] if (r["metric"], r["extractor"]) == ("fid", "skinlesnet")]
    assert main([*arguments, "--size", "32", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pixels"] == [32, 32, 3]
    [same] = [row for row in answer["scores"] if row["metric"] == "fid"]
    assert own["value"] == pytest.approx(same["value"], rel=1e-9)
    assert main([*arguments, "--size", "64"]) == 1
    assert "--size 32" in capsys.readouterr().err


def test_weights_that_cannot_be_had_name_no_configuration(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("meddiff.data.download.transfer.BACKOFF_SECONDS", 0.01)
    for file, row in list(read_registry().items()):
        nowhere = replace(row, address=f"http://127.0.0.1:9/{file}")
        monkeypatch.setitem(read_registry(), file, nowhere)
    images = tmp_path / "images.npy"
    np.save(images, spots(9, 0))
    assert main(["evaluate", str(images), str(images), "--extractor", "inception"]) == 1
    error = capsys.readouterr().err
    assert "extractors." not in error
    assert "--extractor" in error and str(tmp_path / "checkpoints") in error


def test_the_command_leaves_logging_alone(folders) -> None:
    before = logging.getLogger("meddiff.metrics").level
    assert main(["evaluate", *map(str, folders), "--extractor", "none", "--size", "32",
                 "--n-resamples", "8"]) == 0  # fmt: skip
    assert logging.getLogger("meddiff.metrics").level == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real", "gone"], r"\bgone\b"),
        (["real", "real", "--extractor", "vgg"], r"\bvgg\b.*\binception\b"),
        (["real", "few", "--extractor", "none"], r"\bfew\b.*\b2 images"),
        *(
            (["real", "real", f"--{name}", str(value)], rf"--{name} .*{value}: ")
            for name, value in {
                "size": 1,
                "crop": 0,
                "pairs": 3,
                "n-resamples": 3,
                "seed": -1,
            }.items()
        ),
        (["real", "real", "--cores", "1"], r"--cores 1\b.*meddiff evaluate --help"),
    ],
)
def test_bad_input_is_one_line(folders, arguments, message, capsys, monkeypatch) -> None:
    monkeypatch.chdir(folders[0].parent)
    few = Path("few")
    few.mkdir()
    for name in ("1.png", "2.png"):
        Image.fromarray(spots(1, 0)[0]).save(few / name)
    assert main(["evaluate", *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert re.search(f"^error: .*{message}", error) and "\n" not in error
