"""Extractors: dimensions of the study, preprocessing, training, and features that never vary."""

import gc
import hashlib
import pickle
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, log_loss
from torchvision.models import resnet50
from torchvision.transforms import v2

import meddiff.extractors
from fault_server import Break, FaultServer, HangUp, Status
from meddiff.core.arrays import balanced, stack
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.data.registry import address_of, read_registry
from meddiff.extractors.classification import predictions, train_classifier
from meddiff.extractors.extractor import Extractor, build_network, read_extractor
from meddiff.extractors.fetching import find_weights
from meddiff.extractors.names import PRETRAINED, TRAINED, module_of
from meddiff.extractors.pretrained import pretrained_weights
from meddiff.extractors.radimagenet import RadImageNet
from meddiff.extractors.resnet50 import ResNet50
from meddiff.extractors.segmentation import (
    lesion_maps,
    map_scores,
    segmentation_loss,
    segmentation_scores,
    train_unet,
)
from meddiff.extractors.settings import ExtractorsSettings, TrainingSettings, UNetSettings
from meddiff.extractors.skinlesnet import SkinLesNet
from meddiff.extractors.supervised import Examples, Objective, fit
from meddiff.extractors.unet import UNet
from meddiff.extractors.weights import WEIGHTS, PretrainedWeights
from plain_user import plain_user


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("network", "dimension"),
    [
        (UNet([32, 64, 128, 256], 64), 16_384),
        (SkinLesNet(2, 64), 2_048),
        (ResNet50(2), 64),
    ],
)
def test_features_have_the_studys_dimension(network, dimension):
    batch = network.transform(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    with torch.no_grad():
        assert network.eval().features(batch).shape == (2, dimension)
    assert network.dimension == dimension


def test_skinlesnet_has_the_papers_layers():
    widths = [m.out_channels for m in SkinLesNet(2, 64).modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [32, 64, 64, 128]
    assert [m.p for m in SkinLesNet(2, 64).modules() if isinstance(m, torch.nn.Dropout)] == [
        0.5,
        0.3,
    ]


def test_unet_answers_every_pixel_and_uses_its_skips(images):
    torch.manual_seed(0)
    network = UNet([4, 8, 16], 32).eval()
    batch = UNet.transform(torch.from_numpy(images))
    with torch.no_grad():
        whole = network(batch)
        assert whole.shape == (6, 1, 32, 32)
        network.rise[0].weight.zero_()
        network.rise[0].bias.zero_()
        assert (network(batch) - whole).abs().max() > 0


def test_resnet50_preprocessing_is_torchvisions(images):
    reference = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = torch.stack([reference(image) for image in images])
    assert torch.allclose(ResNet50.transform(torch.from_numpy(images)), expected, atol=1e-6)


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return resnet50(weights=None).state_dict()


def test_imagenet_trunk_gives_torchvisions_features(imagenet, images):
    reference = resnet50(weights=None)
    reference.load_state_dict(imagenet)
    reference.fc = torch.nn.Identity()
    batch = ResNet50.transform(torch.from_numpy(images))
    network = ResNet50(2, imagenet).train()
    with torch.no_grad():
        assert torch.allclose(network.trunk(batch), reference.eval()(batch), atol=1e-4)


def labelled(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright images: what any classifier must learn."""
    rng = np.random.default_rng(1)
    dark = rng.integers(0, 100, (count, 32, 32, 3), dtype=np.uint8)
    return stack([dark, dark + np.uint8(150)])


SETTINGS = TrainingSettings.model_validate({"steps": 25, "batch_size": 8})


def train(name, training, validation, settings, seed=0, imagenet=None):
    recipe = module_of(name).recipe(2, 32, imagenet)
    return train_classifier(recipe, training, validation, settings, seed=seed, name=name)


def test_skinlesnet_learns_and_says_what_it_sees():
    network, history = train("skinlesnet", labelled(12), labelled(4), SETTINGS)
    table = predictions(network, labelled(8), ["dark", "bright"])
    assert (table["label"] == table["predicted"]).all()
    assert np.allclose(table["p_dark"] + table["p_bright"], 1)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


BASE = ["step", "epoch", "loss", "validation_loss", "lr"]


def noisy(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose labels no net can tell, so that no score is 0 or 1."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return images, rng.integers(0, 2, count)


@pytest.mark.parametrize("kind", ["skinlesnet", "frozen resnet50", "resnet50"])
def test_a_classifiers_history_tells_the_validation_images_scores(kind, imagenet):
    """Every second epoch and after the last; the last net's numbers are scikit-learn's."""
    settings = TrainingSettings.model_validate({"steps": 6, "batch_size": 8, "validation_every": 2})
    validation = noisy(9)
    sets = labelled(8), validation, settings
    weights = imagenet if kind.startswith("frozen") else None
    network, history = train(kind.split()[-1], *sets, imagenet=weights)
    assert list(history.columns) == [*BASE, "validation_accuracy"]
    assert history["validation_accuracy"].notna().tolist() == [False, True, True]
    assert history["validation_loss"].notna().tolist() == [False, True, True]
    table = predictions(network, validation, ["0", "1"])
    truth, last = table["label"], history.iloc[-1]
    assert last["validation_accuracy"] == accuracy_score(truth, table["predicted"])
    expected = log_loss(truth, table[["p_0", "p_1"]])
    assert last["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_training_never_depends_on_the_validation_images():
    """Net and losses, bit for bit."""
    first, second = (
        train("skinlesnet", labelled(8), validation, SETTINGS)
        for validation in (labelled(2), noisy(9))
    )
    pairs = zip(first[0].parameters(), second[0].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    same = ["step", "epoch", "loss", "lr"]
    assert first[1][same].equals(second[1][same])
    assert not first[1]["validation_loss"].equals(second[1]["validation_loss"])


def test_without_validation_images_a_history_has_its_columns():
    examples = Examples(torch.ones(4, 1), torch.ones(4, 1))
    history = fit(
        torch.nn.Linear(1, 1), Objective(lambda x: x, torch.nn.functional.mse_loss), examples,
        SETTINGS, seed=0, name="net",
    )  # fmt: skip
    assert list(history.columns) == BASE and history["validation_loss"].isna().all()


def test_a_frozen_trunk_stays_and_its_head_learns(imagenet):
    settings = TrainingSettings.model_validate({"steps": 3, "batch_size": 4})
    network, _ = train("resnet50", labelled(2), labelled(2), settings, 0, imagenet)
    trunk = network.trunk.state_dict()
    assert all(torch.equal(trunk[key], imagenet[key]) for key in trunk)
    fresh, _ = train("resnet50", labelled(2), labelled(2), settings, 1, imagenet)
    assert not torch.equal(network.head[0].weight, fresh.head[0].weight)


def test_without_weights_the_whole_net_is_trained():
    settings = TrainingSettings.model_validate({"steps": 1, "batch_size": 4})
    network, _ = train("resnet50", labelled(2), labelled(2), settings)
    torch.manual_seed(0)
    assert all(p.requires_grad for p in network.parameters())


def extractor_of(network, name="net", size=None) -> Extractor:
    return Extractor(name, network, size, "", "")


@pytest.mark.parametrize(
    "build", [lambda: UNet([4, 8], 32), lambda: SkinLesNet(2, 32), RadImageNet]
)
def test_no_feature_depends_on_how_many_images_there_are(build):
    """Bit for bit: any first images, and any part that begins with a block."""
    torch.manual_seed(0)
    network = build()
    network.block = 4
    extractor = extractor_of(network)
    images = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    whole = extractor.features(images)
    assert whole.dtype == np.float32 and whole.shape == (11, extractor.dimension)
    for count in range(12):
        assert np.array_equal(extractor.features(images[:count]), whole[:count])
    for first, last in ((4, 6), (4, 11), (8, 9)):
        assert np.array_equal(extractor.features(images[first:last]), whole[first:last])
    others = np.where(np.arange(11)[:, None, None, None] == 5, images, 255 - images)
    assert np.array_equal(extractor.features(others)[5], whole[5])
    elsewhere = extractor.features(images[5:])
    assert np.allclose(elsewhere, whole[5:], rtol=1e-4, atol=1e-4)


def test_images_of_another_size_are_refused(images):
    with pytest.raises(MeddiffError, match=r"\bskinlesnet\b.*\b64 px .*\b32 x 32 px"):
        extractor_of(SkinLesNet(2, 64), "skinlesnet", 64).features(images)


def test_logits_come_from_features_or_not_at_all(images):
    with pytest.raises(MeddiffError, match="extractor unet "):
        extractor_of(UNet([4, 8], 32), "unet").logits(np.zeros((1, 8), np.float32))


def test_a_saved_extractor_comes_back(images, tmp_path):
    network = UNet([4, 8], 32).eval()
    path = tmp_path / "u.safetensors"
    about = {"extractor": "unet", "channels": [4, 8], "size": 32}
    save_checkpoint(path, network.state_dict(), about)
    extractor = read_extractor(path)
    with torch.no_grad():
        expected = network.features(UNet.transform(torch.from_numpy(images))).numpy()
    assert np.array_equal(extractor.features(images), expected)
    assert extractor.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert extractor.dimension == network.dimension and extractor.size == 32
    assert extractor.weights == "trained by this workflow"


def disc(size: int, row: int, column: int) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    return ((rows - row) ** 2 + (columns - column) ** 2 < 40)[..., None]


def test_unet_finds_a_lesion_where_it_is():
    """Discs off the diagonal: a transposed mask would be missed."""
    rng = np.random.default_rng(0)
    spots = [(rng.integers(6, 12), rng.integers(18, 26)) for _ in range(24)]
    masks = np.stack([disc(32, *spot) for spot in spots]).astype(np.uint8) * 255
    skin = rng.integers(150, 200, (24, 32, 32, 3))
    pictures = np.where(masks > 0, 60, skin).astype(np.uint8)
    settings = UNetSettings.model_validate({"steps": 60, "batch_size": 8, "channels": [8, 16]})
    test = pictures[16:], masks[16:]
    network, history = train_unet((pictures[:16], masks[:16]), test, settings, seed=0)
    scores = segmentation_scores(network, *test)
    assert list(history.columns) == [*BASE, "validation_dice"]
    assert history["validation_dice"].notna().sum() == len(history) // 5
    assert history["validation_dice"].iloc[-1] == pytest.approx(scores["dice"].mean(), abs=1e-9)
    assert history["validation_loss"].iloc[-1] == pytest.approx(scores["mse"].mean(), rel=1e-4)
    maps = lesion_maps(network, test[0])
    assert maps.shape == (8, 1, 32, 32) and map_scores(maps, test[1]).equals(scores)
    assert scores["iou"].mean() > 0.8
    assert np.allclose(scores["dice"], 2 * scores["iou"] / (1 + scores["iou"]))
    swapped = segmentation_scores(network, pictures[16:], masks[16:].transpose(0, 2, 1, 3))
    assert swapped["iou"].mean() < 0.2


def test_segmentation_loss_is_mse_on_the_sigmoid_map():
    logits, masks = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert segmentation_loss(logits, masks).item() == pytest.approx(0.25)


def test_a_loss_that_turns_nan_is_told():
    examples = Examples(torch.ones(4, 1), torch.ones(4, 1))
    with pytest.raises(MeddiffError, match=r"^net: .*\bnan\b.*\b1 of 25\b"):
        fit(
            torch.nn.Linear(1, 1),
            Objective(lambda x: x * float("nan"), torch.nn.functional.mse_loss),
            examples,
            SETTINGS,
            seed=0,
            name="net",
        )


@pytest.mark.parametrize("images", [4, 40])
def test_a_plateau_may_be_looked_for_as_often_whatever_the_epoch(images):
    """A loss that never falls: looks after 10, 20, ... steps halve the rate at 30 and 50 of 60."""
    examples = Examples(torch.ones(images, 1), torch.ones(images, 1))
    history = fit(
        torch.nn.Linear(1, 1), Objective(lambda x: x, lambda x, y: (x * 0).sum() + 1), examples,
        TrainingSettings(steps=60, batch_size=4, lr=1.0), seed=0, name="net", plateau_every=10,
    )  # fmt: skip
    rates = history.set_index("step")["lr"]
    assert rates.loc[[20, 30, 40, 50, 60]].tolist() == [1, 1, 0.5, 0.5, 0.25]


def test_balanced_cuts_to_the_smallest_class():
    cut = balanced([np.arange(5), np.arange(3)])
    assert [c.tolist() for c in cut] == [[0, 1, 2], [0, 1, 2]]


@pytest.fixture
def weight_server(tmp_path, monkeypatch):
    """Serve a ResNet50 state dict as torchvision does; yield its name, folder and server."""
    served = tmp_path / "served/models"
    served.mkdir(parents=True)
    torch.save(resnet50(weights=None).state_dict(), served / "weights.pth")
    digest = hashlib.sha256((served / "weights.pth").read_bytes()).hexdigest()[:8]
    name = f"resnet50-{digest}.pth"
    (served / "weights.pth").rename(served / name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("meddiff.data.download.transfer.BACKOFF_SECONDS", 0.01)
    with FaultServer(tmp_path / "served") as server:
        register(monkeypatch, server, name, digest)
        register(monkeypatch, server, RADIMAGENET.file, None)
        register(monkeypatch, server, NETS.file, None)
        yield name, served, server


def register(monkeypatch, server, file, sha256) -> None:
    """Publish a file of weights on the server, with the first digits of its SHA-256 or none."""
    row = read_registry()[f"weights/{IMAGENET.file}"]
    here = replace(row, address=f"{server.url}/models/{file}", sha256=sha256, megabytes=None)
    monkeypatch.setitem(read_registry(), f"weights/{file}", here)


IMAGENET = WEIGHTS["resnet50"]
RADIMAGENET = WEIGHTS["radimagenet"]
NETS = PretrainedWeights("Weights of a net", "net.pth", "leave net out of extractors.pretrained")


def named(file, which=IMAGENET):
    return replace(which, file=file)


def hub_files() -> set[str]:
    return {path.name for path in Path(torch.hub.get_dir()).rglob("*") if path.is_file()}


def test_imagenet_weights_are_fetched_and_checked(weight_server):
    name, _, _ = weight_server
    weights, note, _ = find_weights(named(name), "auto", {})
    assert set(weights) == set(resnet50(weights=None).state_dict())
    assert "ImageNet" in note and name in note
    assert hub_files() == {name}


def test_weights_come_from_a_mirror(weight_server, tmp_path):
    name, served, server = weight_server
    (tmp_path / "served/mirror").mkdir()
    (served / name).rename(tmp_path / "served/mirror" / name)
    mirrors = {f"{server.url}/models": f"{server.url}/mirror"}
    assert find_weights(named(name), "required", mirrors)[0]


def test_weights_go_on_where_a_connection_broke(weight_server):
    name, _, server = weight_server
    server.plan(f"/models/{name}", Break(after=2**20, times=1))
    assert find_weights(named(name), "required", {})[0]
    assert server.ranges(f"/models/{name}") == [None, f"bytes={2**20}-"]


def test_wrong_bytes_are_refused_and_not_kept(weight_server, monkeypatch):
    name, served, server = weight_server
    wrong = "resnet50-00000000.pth"
    (served / wrong).write_bytes((served / name).read_bytes())
    register(monkeypatch, server, wrong, "00000000")
    assert find_weights(named(wrong), "auto", {})[0] is None
    with pytest.raises(MeddiffError, match=r"00000000.*hub folder"):
        find_weights(named(wrong), "required", {})
    assert hub_files() == set()


@pytest.mark.parametrize(
    "page",
    [b"<html>too many downloads</html>", b"", pickle.dumps(print)],
    ids=["page", "nothing", "pickle"],
)
def test_what_is_no_weights_file_is_not_run_and_not_kept(weight_server, page):
    """No checksum is published for RadImageNet's: a page of apology, nothing, a hostile pickle."""
    _, served, _ = weight_server
    (served / RADIMAGENET.file).write_bytes(page)
    weights, note, _ = find_weights(RADIMAGENET, "auto", {})
    assert weights is None and "random" in note
    assert hub_files() == set()
    with pytest.raises(MeddiffError, match=r"RadImageNet .*extractors\.pretrained"):
        find_weights(RADIMAGENET, "required", {})


@pytest.mark.parametrize("fault", [Status(404), HangUp()], ids=["no file", "no network"])
def test_absent_weights_are_named_in_the_note(weight_server, fault):
    name, _, server = weight_server
    server.plan(f"/models/{name}", fault)
    started = time.monotonic()
    weights, note, _ = find_weights(named(name), "auto", {})
    assert weights is None and "scratch" in note
    assert len(server.requests_of(f"/models/{name}")) <= 2 and time.monotonic() - started < 10


def test_none_never_looks():
    assert find_weights(IMAGENET, "none", {})[0] is None


def test_what_was_first_fetched_must_hold_where_no_digest_is_published(weight_server):
    _, served, _ = weight_server
    first, second = {"weight": torch.zeros(1)}, {"weight": torch.ones(1)}
    torch.save(first, served / NETS.file)
    _, note, _ = find_weights(NETS, "required", {})
    file = Path(torch.hub.get_dir(), "checkpoints", NETS.file)
    record = file.with_name(f"{file.name}.sha256")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert record.read_text().strip() == digest and digest[:16] in note
    # Another version at the publisher's is refused and not kept,
    file.unlink()
    torch.save(second, served / NETS.file)
    with pytest.raises(MeddiffError, match=digest) as caught:
        find_weights(NETS, "required", {})
    assert str(record) in str(caught.value) and not file.exists()
    # and so is another file in the hub folder, which stays where it is,
    torch.save(second, file)
    with pytest.raises(MeddiffError, match=digest):
        find_weights(NETS, "required", {})
    assert file.exists()
    # until the record is taken away.
    record.unlink()
    assert torch.equal(find_weights(NETS, "required", {})[0]["weight"], second["weight"])
    assert record.read_text().strip() != digest


def test_a_file_put_into_the_hub_folder_is_recorded_as_well(weight_server):
    file = Path(torch.hub.get_dir(), "checkpoints", NETS.file)
    file.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(1)}, file)
    find_weights(NETS, "required", {})
    assert hub_files() == {NETS.file, f"{NETS.file}.sha256"}


def test_a_hub_folder_that_is_read_only_serves_what_it_holds(weight_server):
    file = Path(torch.hub.get_dir(), "checkpoints", NETS.file)
    file.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(1)}, file)
    file.parent.chmod(0o555)
    with plain_user():
        assert find_weights(NETS, "required", {})[0]
    file.chmod(0)
    with plain_user(), pytest.raises(MeddiffError, match=r"permission.*net\.pth"):
        find_weights(NETS, "required", {})
    assert hub_files() == {NETS.file}


def nowhere(name, weight_server, monkeypatch) -> dict[str, str]:
    """Mirrors of a net's weights that have none, as if no package with weights were installed."""
    monkeypatch.setattr("meddiff.extractors.fetching.find_spec", lambda name: None)
    server = weight_server[2]
    return {
        address_of(f"weights/{which.file}", {}): f"{server.url}/models/{which.file}"
        for which in WEIGHTS[name].sources
    }


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_published_net_comes_through_the_same_downloads(name, weight_server, monkeypatch):
    """No library of a net may fetch by itself, past digests and records."""
    for package in {"inception": ["torch_fidelity"], "radimagenet": []}.get(name, ["timm"]):
        pytest.importorskip(package)
    mirrors = nowhere(name, weight_server, monkeypatch)
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    files = [which.file for which in WEIGHTS[name].sources]
    with pytest.raises(MeddiffError, match=rf"{'.*'.join(files)}.*extractors\.pretrained"):
        pretrained_weights(name, "required", mirrors)
    _, _, server = weight_server
    assert [len(server.requests_of(f"/models/{file}")) for file in files] == [1] * len(files)


def keras_resnet50(weights, batch):
    """RadImageNet's net written out from its description, one operation at a time."""
    f = torch.nn.functional

    def conv(x, name, stride=1, padding=0):
        return f.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)

    def norm(x, name):
        parts = (weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return f.batch_norm(x, *parts, eps=1.001e-5)

    x = f.relu(norm(conv(batch, "conv1", 2, 3), "bn1"))
    x = f.max_pool2d(x, 3, 2, 1)
    for level, blocks in enumerate([3, 4, 6, 3], start=1):
        for number in range(blocks):
            at, stride = f"layer{level}.{number}", 2 if level > 1 and number == 0 else 1
            y = f.relu(norm(conv(x, f"{at}.conv1", stride), f"{at}.bn1"))
            y = f.relu(norm(conv(y, f"{at}.conv2", 1, 1), f"{at}.bn2"))
            y = norm(conv(y, f"{at}.conv3"), f"{at}.bn3")
            if number == 0:
                x = norm(conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            x = f.relu(x + y)
    return x.mean((2, 3))


def test_radimagenet_from_a_served_file(weight_server):
    """The published layout, loaded from a server, gives the features of the net written out."""
    _, served, _ = weight_server
    torch.manual_seed(0)
    state = RadImageNet().trunk.state_dict()
    for key, value in state.items():
        if value.dtype == torch.float32 and not key.endswith("weight"):
            state[key] = value + 0.1 * torch.rand_like(value)
    assert "conv1.bias" in state and "layer1.0.downsample.0.bias" in state
    torch.save(state, served / RADIMAGENET.file)
    weights, note, _ = find_weights(RADIMAGENET, "auto", {})
    assert RADIMAGENET.file in note
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    network = build_network({"extractor": "radimagenet"}, weights, "here", "no")
    features = extractor_of(network).features(images)
    assert features.shape == (3, 2048) and features.dtype == np.float32
    grey = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    batch = grey.repeat(1, 3, 1, 1) - torch.tensor([0.406, 0.456, 0.485]).reshape(3, 1, 1)
    with torch.no_grad():
        assert np.allclose(features, keras_resnet50(weights, batch).numpy(), atol=1e-4)


def test_radimagenet_takes_blue_first():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 4, 4, 3)
    features = RadImageNet.transform(red)
    assert torch.allclose(features[0, :, 0, 0], torch.tensor([-0.406, -0.456, 1 - 0.485]))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "panderm" else n for n in PRETRAINED],
)
def test_without_published_weights_random_ones_are_always_the_same(
    name, weight_server, tmp_path, monkeypatch
):
    """`auto`: the checkpoint is that of an extractor, and its metadata name the stand-in."""
    for package in {"inception": ["torch_fidelity"], "radimagenet": []}.get(name, ["timm"]):
        pytest.importorskip(package)
    if name in ENCODERS:
        monkeypatch.setattr(module_of(name), "MODEL", ENCODERS[name])
    mirrors = nowhere(name, weight_server, monkeypatch)
    (first, metadata), (second, _) = (pretrained_weights(name, "auto", mirrors) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    save_checkpoint(tmp_path / "x.safetensors", first, metadata)
    extractor = read_extractor(tmp_path / "x.safetensors")
    assert "random" in extractor.weights
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert np.ptp(extractor.features(images), axis=0).max() > 0


def test_files_of_a_net_that_is_not_compared_are_refused():
    with pytest.raises(ValueError, match=r"files\.clip"):
        ExtractorsSettings(pretrained=["dinov2"], files={"clip": "mine.pth"})


@pytest.fixture(scope="module")
def inception_weights() -> dict[str, torch.Tensor]:
    """Random weights in the published layout; the library's net wants published ones to exist."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
        torch.manual_seed(0)
        return fidelity.FeatureExtractorInceptionV3("random", ["2048"]).state_dict()


@pytest.mark.parametrize("size", [32, 64])
def test_inception_is_torch_fidelitys(inception_weights, size, tmp_path):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save(inception_weights, tmp_path / "w.pth")
    reference = fidelity.FeatureExtractorInceptionV3(
        "reference", ["2048", "logits_unbiased"], tmp_path / "w.pth"
    )
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    expected = reference(torch.from_numpy(images).permute(0, 3, 1, 2))
    about = {"extractor": "inception", "weights": "random"}
    save_checkpoint(tmp_path / "i.safetensors", inception_weights, about)
    extractor = read_extractor(tmp_path / "i.safetensors")
    extractor.network.block = 4
    features = extractor.features(images)
    assert features.shape == (3, 2048) and features.std() > 0
    assert np.allclose(features, expected[0], rtol=1e-4, atol=1e-6)
    assert np.array_equal(extractor.features(images[:1]), features[:1])
    logits = extractor.logits(features)
    assert logits.shape == (3, 1008) and np.allclose(logits, expected[1], rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.size, extractor.weights) == ("inception", None, "random")


ENCODERS = {"dinov2": "vit_tiny_patch16_224", "clip": "vit_base_patch32_clip_quickgelu_224.openai",
            "swav": "resnet10t.c3_in1k"}  # fmt: skip
"""Small nets of the same kinds in the place of the large ones."""


def published_layout(name, net):
    """DINOv2's and SwAV's files hold what their trainings needed; timm's of CLIP is timm's own."""
    state = net.state_dict()
    if name == "swav":
        state |= {"projection_head.0.weight": torch.zeros(4), "prototypes.weight": torch.zeros(4)}
        return {f"module.{key}": each for key, each in state.items()}
    return state | ({"mask_token": torch.zeros(1, 192)} if name == "dinov2" else {})


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_are_timms(name, monkeypatch):
    timm = pytest.importorskip("timm")
    classes = {} if name == "clip" else {"num_classes": 0}
    torch.manual_seed(0)
    net = timm.create_model(ENCODERS[name], **classes).eval()
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **{**k, **classes}))
    monkeypatch.setattr(module_of(name), "MODEL", ENCODERS[name])
    about = {"extractor": name}
    extractor = extractor_of(build_network(about, published_layout(name, net), "here", "no"))
    extractor.network.block = 4
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    config = timm.data.resolve_model_data_config(net)
    prepare = timm.data.create_transform(**config | {"crop_pct": 1.0})
    batch = torch.stack([prepare(Image.fromarray(image)) for image in images])
    prepared = extractor.network.transform(torch.from_numpy(images))
    # PIL rounds to grey levels twice, once a side, and torch once.
    levels = (prepared - batch).abs() * 255 * torch.tensor(config["std"]).view(3, 1, 1)
    assert levels.max() < 2.01 and levels.mean() < 0.2
    with torch.no_grad():
        expected = net(prepared).numpy()
    features = extractor.features(images)
    assert features.shape == (3, extractor.dimension) == expected.shape
    assert np.allclose(features, expected, atol=1e-4)
    for count in range(4):
        assert np.array_equal(extractor.features(images[:count]), features[:count])


@pytest.mark.parametrize(
    ("name", "dimension", "side"), [("dinov2", 384, 518), ("clip", 768, 336), ("swav", 2048, 224)]
)
def test_encoders_have_their_papers_size(name, dimension, side):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        net = timm.create_model(module_of(name).MODEL)
    classes = 0 if name == "swav" else net.num_classes
    assert (classes or net.num_features) == dimension
    assert timm.data.resolve_model_data_config(net)["input_size"] == (3, side, side)


@pytest.mark.parametrize("name", [*TRAINED, *PRETRAINED])
def test_each_name_of_the_settings_is_a_module_with_a_net(name):
    for package in {"inception": ["torch_fidelity"], "dinov2": ["timm"], "clip": ["timm"]}.get(
        name, []
    ):
        pytest.importorskip(package)
    assert callable(module_of(name).build)


def test_reported_extractors_are_registered_throughout():
    """One name in the settings of extractors reaches the configuration and the downloads."""
    assert ExtractorsSettings(pretrained=list(PRETRAINED)).pretrained == list(PRETRAINED)
    with pytest.raises(ValueError, match=", ".join(map(repr, PRETRAINED[:-1]))):
        ExtractorsSettings(pretrained=["vgg"])
    with pytest.raises(ValueError, match="twice"):
        ExtractorsSettings(pretrained=["clip", "clip"])
    for name in PRETRAINED:
        assert read_registry()[f"weights/{WEIGHTS[name].file}"].role == "weights"
        assert name in WEIGHTS[name].remedy


def of_file(name):
    return replace(NETS, file=name)


def test_required_weights_are_fetched_once_and_checked(weight_server):
    name, served, _ = weight_server
    weights, note, _ = find_weights(of_file(name), "required", {})
    assert note == f"Weights of a net ({name})"
    assert set(weights) == set(resnet50(weights=None).state_dict())
    (served / name).unlink()
    assert find_weights(of_file(name), "required", {})[1] == note


@pytest.mark.parametrize("harm", ["cut short", "other weights"])
def test_a_damaged_file_in_the_hub_folder_is_told(weight_server, harm):
    name, served, _ = weight_server
    file = Path(torch.hub.get_dir(), "checkpoints", name)
    file.parent.mkdir(parents=True)
    if harm == "cut short":
        file.write_bytes((served / name).read_bytes()[:1000])
    else:
        torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(MeddiffError, match=rf"{name} .*damaged .*extractors\.pretrained"):
        find_weights(of_file(name), "required", {})
    assert file.exists()


def test_absent_weights_say_what_to_do(weight_server):
    with pytest.raises(MeddiffError, match=r"404.*net\.pth.*extractors\.pretrained") as caught:
        find_weights(NETS, "required", {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_the_user_is_read_in_both_formats(tmp_path, suffix):
    file = tmp_path / f"mine{suffix}"
    state = {"weight": torch.arange(3.0)}
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    weights, note, sha256 = find_weights(NETS, "required", {}, file)
    assert torch.equal(weights["weight"], state["weight"])
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert note == f"Weights of a net (mine{suffix}, SHA-256 {sha256[:16]})"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(MeddiffError, match=rf"mine{suffix} .*another.*extractors\.pretrained"):
        find_weights(NETS, "required", {}, file)
    file.unlink()
    with pytest.raises(MeddiffError, match="No such file"):
        find_weights(NETS, "required", {}, file)


@pytest.mark.parametrize("name", ["inception", "radimagenet", "dinov2"])
def test_the_weights_of_another_net_are_told(name):
    for package in {"inception": ["torch_fidelity"], "radimagenet": []}.get(name, ["timm"]):
        pytest.importorskip(package)
    with pytest.raises(MeddiffError, match=rf"^mine .*\b{name}\b.*: take others$"):
        build_network({"extractor": name}, {"w": torch.zeros(1)}, "mine", "take others")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("dinov2", "encoder"):
        monkeypatch.delitem(sys.modules, f"meddiff.extractors.{name}", raising=False)
        monkeypatch.delattr(meddiff.extractors, name, raising=False)
    with pytest.raises(MeddiffError, match=r"\bdinov2\b.*\btimm\b.*meddiff\[encoders\]"):
        module_of("dinov2")


def test_what_is_no_extractor_is_told(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", {"w": torch.zeros(1)}, {"weights": "some"})
    with pytest.raises(MeddiffError, match=r"x\.safetensors .*extractor"):
        read_extractor(tmp_path / "x.safetensors")
    with pytest.raises(MeddiffError, match=r"\bvgg\b.*\bunet, "):
        module_of("vgg")


def test_a_trainings_memory_is_free_when_it_ends() -> None:
    """Without waiting for the collector of cycles: a GPU's graphs hold much of it."""
    network = SkinLesNet(2, 16)
    inputs = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    training = Examples(inputs, torch.tensor([0, 1, 0, 1]))
    objective = Objective(SkinLesNet.transform, torch.nn.functional.cross_entropy)
    gc.collect()
    gc.disable()
    try:
        fit(network, objective, training, TrainingSettings(steps=2), seed=0, name="x")
        freed = weakref.ref(network)
        del network
        assert freed() is None
    finally:
        gc.enable()
