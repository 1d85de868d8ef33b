"""Extractors: dimensions of the study, preprocessing, training, and features that never vary."""

import hashlib
import http.server
import pickle
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet50
from torchvision.transforms import v2

from meddiff.checkpoints import save_checkpoint
from meddiff.data.labelled import balanced, stack
from meddiff.errors import MeddiffError
from meddiff.extractors.classification import predictions
from meddiff.extractors.extractor import load_extractor
from meddiff.extractors.learning import Examples, fit
from meddiff.extractors.radimagenet import RadImageNet, build_radimagenet, radimagenet_features
from meddiff.extractors.resnet50 import ResNet50, train_resnet50
from meddiff.extractors.segmentation import segmentation_loss, segmentation_scores, train_unet
from meddiff.extractors.settings import Training
from meddiff.extractors.settings import UNet as UNetSettings
from meddiff.extractors.skinlesnet import SkinLesNet, train_skinlesnet
from meddiff.extractors.unet import UNet
from meddiff.extractors.weights import IMAGENET, RADIMAGENET, find_weights


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


SETTINGS = Training.model_validate({"steps": 25, "batch_size": 8})


def test_skinlesnet_learns_and_says_what_it_sees():
    network, history = train_skinlesnet(labelled(12), labelled(4), 2, SETTINGS, seed=0)
    told = predictions(network, labelled(8), ["dark", "bright"])
    assert (told["label"] == told["predicted"]).all()
    assert np.allclose(told["p_dark"] + told["p_bright"], 1)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["validation_loss"].notna().any()


def test_a_frozen_trunk_stays_and_its_head_learns(imagenet):
    settings = Training.model_validate({"steps": 3, "batch_size": 4})
    network, _ = train_resnet50(labelled(2), labelled(2), 2, settings, imagenet=imagenet, seed=0)
    trunk = network.trunk.state_dict()
    assert all(torch.equal(trunk[key], imagenet[key]) for key in trunk)
    fresh, _ = train_resnet50(labelled(2), labelled(2), 2, settings, imagenet=imagenet, seed=1)
    assert not torch.equal(network.head[0].weight, fresh.head[0].weight)


def test_without_weights_the_whole_net_is_trained():
    settings = Training.model_validate({"steps": 1, "batch_size": 4})
    network, _ = train_resnet50(labelled(2), labelled(2), 2, settings, imagenet=None, seed=0)
    torch.manual_seed(0)
    assert all(p.requires_grad for p in network.parameters())


def test_batch_size_changes_no_feature(images, tmp_path, monkeypatch):
    network = SkinLesNet(2, 32)
    about = {"extractor": "skinlesnet", "classes": 2, "size": 32}
    save_checkpoint(tmp_path / "s.safetensors", network.state_dict(), about)
    extractor = load_extractor(tmp_path / "s.safetensors")
    whole = extractor.features(images)
    alone = np.concatenate([extractor.features(images[i : i + 1]) for i in range(len(images))])
    assert whole.dtype == np.float32 and np.allclose(whole, alone, rtol=1e-5, atol=1e-6)


def test_a_saved_extractor_comes_back(images, tmp_path):
    network = UNet([4, 8], 32).eval()
    path = tmp_path / "u.safetensors"
    about = {"extractor": "unet", "channels": [4, 8], "size": 32}
    save_checkpoint(path, network.state_dict(), about)
    extractor = load_extractor(path)
    with torch.no_grad():
        expected = network.features(UNet.transform(torch.from_numpy(images))).numpy()
    assert np.array_equal(extractor.features(images), expected)
    assert extractor.digest == hashlib.sha256(path.read_bytes()).hexdigest()


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
    network, _ = train_unet(pictures[:16], masks[:16], settings, seed=0)
    scores = segmentation_scores(network, pictures[16:], masks[16:])
    assert scores["iou"].mean() > 0.8
    assert np.allclose(scores["dice"], 2 * scores["iou"] / (1 + scores["iou"]))
    swapped = segmentation_scores(network, pictures[16:], masks[16:].transpose(0, 2, 1, 3))
    assert swapped["iou"].mean() < 0.2


def test_segmentation_loss_is_mse_on_the_sigmoid_map():
    logits, masks = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert segmentation_loss(logits, masks).item() == pytest.approx(0.25)


def test_a_loss_that_turns_nan_is_told():
    examples = Examples(torch.ones(4, 1), torch.ones(4, 1))
    with pytest.raises(MeddiffError, match="net: the loss is nan at step 1 of 25"):
        fit(
            torch.nn.Linear(1, 1), lambda x: x * float("nan"), torch.nn.functional.mse_loss,
            examples, SETTINGS, seed=0, name="net",
        )  # fmt: skip


def test_balanced_cuts_to_the_smallest_class():
    cut = balanced([np.arange(5), np.arange(3)])
    assert [c.tolist() for c in cut] == [[0, 1, 2], [0, 1, 2]]


@pytest.fixture
def weight_server(tmp_path, monkeypatch):
    """Serve a ResNet50 state dict as torchvision does; yield its name, folder and address."""
    served = tmp_path / "served"
    served.mkdir()
    torch.save(resnet50(weights=None).state_dict(), served / "weights.pth")
    digest = hashlib.sha256((served / "weights.pth").read_bytes()).hexdigest()[:8]
    name = f"resnet50-{digest}.pth"
    (served / "weights.pth").rename(served / name)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(served), **kwargs)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    yield name, served, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def named(file, which=IMAGENET):
    return replace(which, file=file)


def test_imagenet_weights_are_fetched_and_checked(weight_server):
    name, _served, server = weight_server
    weights, note = find_weights(named(name), "auto", f"{server}/{name}")
    assert set(weights) == set(resnet50(weights=None).state_dict())
    assert "ImageNet" in note and name in note


def test_wrong_bytes_are_refused_and_not_kept(weight_server):
    name, served, server = weight_server
    wrong = "resnet50-00000000.pth"
    (served / wrong).write_bytes((served / name).read_bytes())
    assert find_weights(named(wrong), "auto", f"{server}/{wrong}")[0] is None
    with pytest.raises(MeddiffError, match=r"cannot be fetched .*hub folder"):
        find_weights(named(wrong), "imagenet", f"{server}/{wrong}")
    assert not list(Path(torch.hub.get_dir()).rglob("*.pth"))


@pytest.mark.parametrize("page", [b"<html>too many downloads</html>", b"", pickle.dumps(print)])
def test_what_is_no_weights_file_is_not_run_and_not_kept(weight_server, page):
    """No checksum is published for RadImageNet's: a page of apology, nothing, a hostile pickle."""
    _, served, server = weight_server
    (served / RADIMAGENET.file).write_bytes(page)
    weights, note = find_weights(RADIMAGENET, "auto", f"{server}/{RADIMAGENET.file}")
    assert weights is None and "random weights" in note and "could not be had" in note
    assert not list(Path(torch.hub.get_dir()).rglob("*.pth"))
    with pytest.raises(MeddiffError, match=r"RadImageNet .*set hand\.weights to auto or none"):
        find_weights(RADIMAGENET, "radimagenet", f"{server}/{RADIMAGENET.file}")


def test_absent_weights_are_named_in_the_note(weight_server):
    _, _, server = weight_server
    absent = "resnet50-11111111.pth"
    weights, note = find_weights(named(absent), "auto", f"{server}/{absent}")
    assert weights is None and "trained from scratch" in note


def test_none_never_looks():
    assert find_weights(IMAGENET, "none", "no address")[0] is None


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
    _, served, server = weight_server
    torch.manual_seed(0)
    state = RadImageNet().trunk.state_dict()
    for key, value in state.items():
        if value.dtype == torch.float32 and not key.endswith("weight"):
            state[key] = value + 0.1 * torch.rand_like(value)
    assert "conv1.bias" in state and "layer1.0.downsample.0.bias" in state
    torch.save(state, served / RADIMAGENET.file)
    weights, note = find_weights(RADIMAGENET, "auto", f"{server}/{RADIMAGENET.file}")
    assert RADIMAGENET.file in note
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    found = radimagenet_features(build_radimagenet(weights), images)
    assert found.shape == (3, 2048) and found.dtype == np.float32
    grey = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    batch = grey.repeat(1, 3, 1, 1) - torch.tensor([0.406, 0.456, 0.485]).reshape(3, 1, 1)
    with torch.no_grad():
        assert np.allclose(found, keras_resnet50(weights, batch).numpy(), atol=1e-4)


def test_radimagenet_takes_blue_first():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 4, 4, 3)
    found = RadImageNet.transform(red)
    assert torch.allclose(found[0, :, 0, 0], torch.tensor([-0.406, -0.456, 1 - 0.485]))


def test_without_radimagenet_the_stand_in_is_always_the_same():
    first, second = (build_radimagenet(None).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_of_another_net_are_refused():
    with pytest.raises(MeddiffError, match="RadImageNet weights are of another net"):
        build_radimagenet(resnet50(weights=None).state_dict())
