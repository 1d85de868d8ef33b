"""Two image sets scored by themselves: what the numbers are, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meddiff.checkpoints import save_checkpoint
from meddiff.cli import main
from meddiff.errors import MeddiffError
from meddiff.evaluation import evaluate, read_image_set
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


def scores(found: dict) -> dict[str, dict]:
    return {row["metric"]: row for row in found["scores"]}


def test_more_real_images_score_as_real_and_noise_as_noise() -> None:
    real = spots(120, 0)
    near = scores(evaluate(real, spots(60, 1), {"coarse": coarse}, replicates=20))
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    far = scores(evaluate(real, noise, {"coarse": coarse}, replicates=20))
    for metric in ("fid", "kid"):
        assert near[metric]["score"] == pytest.approx(1, abs=0.1)
        assert far[metric]["score"] < 0.5
        assert near[metric]["low"] <= near[metric]["value"] <= near[metric]["high"]
    assert near["fid"]["value"] == pytest.approx(fid(coarse(real), coarse(spots(60, 1))))
    assert near["coverage"]["value"] > 0.7 > far["coverage"]["value"] == 0
    expected = ssim_pairs(spots(60, 1), kernel_size=11).mean()
    assert near["ssim within synthetic"]["value"] == pytest.approx(expected)


def test_copies_are_told() -> None:
    training, unseen = spots(60, 0), spots(40, 1)
    honest = evaluate(training, spots(40, 2), {}, unseen=unseen, replicates=20)
    assert honest["memorisation"]["verdict"] == "no copies"
    for orientation in (training, training[:, :, ::-1], np.rot90(training, axes=(1, 2))):
        copied = evaluate(training, orientation[:40], {}, unseen=unseen, replicates=20)
        assert copied["memorisation"]["verdict"] == "copies"
        assert copied["memorisation"]["identical"] == 40
        assert copied["memorisation"]["nearest"] == list(range(40))
    assert evaluate(training, spots(40, 2), {}, replicates=20)["memorisation"] is None


def test_scores_of_published_nets_alone() -> None:
    """Inception Score where classes are told, CMMD of CLIP's embeddings."""
    real, synthetic = spots(30, 0), spots(20, 1)

    def sure(features: np.ndarray) -> np.ndarray:
        return np.eye(2)[np.arange(len(features)) % 2]

    told = evaluate(
        real, synthetic, {"clip": coarse, "other": coarse}, probabilities={"other": sure},
        replicates=20,
    )["scores"]  # fmt: skip
    extra = {(row["metric"], row["extractor"]): row["value"] for row in told}
    assert extra["cmmd", "clip"] == pytest.approx(cmmd(coarse(real), coarse(synthetic)))
    assert extra["inception_score", "other"] == pytest.approx(2)
    assert ("cmmd", "other") not in extra and ("inception_score", "clip") not in extra


def test_no_score_where_noise_is_no_farther_than_real_images() -> None:
    """Blind features: every distance is 0, nothing lies between the ends."""
    blind = {"blind": lambda images: np.ones((len(images), 3))}
    found = evaluate(spots(20, 0), spots(20, 1), blind, replicates=20)
    assert scores(found)["fid"]["score"] is None
    assert scores(found)["fid"]["value"] == 0


def test_sets_of_different_shape_are_refused() -> None:
    with pytest.raises(MeddiffError, match=r"unseen ones \(16, 16, 3\): pack both alike"):
        evaluate(spots(9, 0), spots(9, 1), {}, unseen=spots(9, 2, side=16), replicates=20)


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
    assert read_image_set(folders[1], crop=32, size=16).shape == (9, 16, 16, 3)


def test_the_command_prints_a_table_or_json(folders, capsys) -> None:
    arguments = ["evaluate", *map(str, folders), "--extractor", "none", "--size", "32",
                 "--replicates", "20"]  # fmt: skip
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "14 real" in text and "9 synthetic" in text and "32x32 px" in text
    assert "ssim within synthetic" in text and "give --unseen" in text and "NaN" not in text
    assert main([*arguments, "--unseen", str(folders[0].parent / "unseen"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sets"]["synthetic"]["images"] == 9 and told["seed"] == 0
    assert told["memorisation"]["suspects"] >= 0
    assert main([*arguments, "--unseen", str(folders[0].parent / "unseen")]) == 0
    assert "synthetic images are closer to a training image" in capsys.readouterr().out
    assert main([*arguments, "--unseen", str(folders[0])]) == 1
    assert "14 of 14 unseen images are training images" in capsys.readouterr().err


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
                 files[1], "--replicates", "8", "--json"]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    names = {row["extractor"] for row in told["scores"]} - {None}
    assert names == {"skinlesnet", files[1]}
    fids = [row["value"] for row in told["scores"] if row["metric"] == "fid"]
    assert fids == pytest.approx([0, 0], abs=1e-5)


def test_the_smallest_images_have_no_ms_ssim() -> None:
    found = scores(evaluate(spots(9, 0, side=32)[:, :8, :8], spots(9, 1)[:, :8, :8], {}))
    assert set(found) == {"ssim within real", "ssim within synthetic"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real", "gone"], "there is no gone"),
        (["real", "real", "--extractor", "vgg"], "vgg is neither a published extractor"),
        (["real", "few", "--extractor", "none"], "few holds 2 images: scores need at least 8"),
        (["real", "real", "--size", "0"], "--size, --crop and --pairs must be above 0"),
        (["real", "real", "--cores", "1"], "evaluate does not know --cores 1"),
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
    assert error.startswith(f"error: {message}") and "\n" not in error
