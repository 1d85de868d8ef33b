"""One net for all classes: its conditions, its batches, its guidance, its checkpoints."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets import DiffusionModelUNet

import meddiff
from meddiff.core.batches import Batch
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.conditions import CHANGES, Conditions
from meddiff.diffusion.importing import import_ddpm
from meddiff.diffusion.model import build_network
from meddiff.diffusion.pixels import to_uint8
from meddiff.diffusion.process import build_process
from meddiff.diffusion.sampling.ddpm import Ddpm, load_ddpm
from meddiff.diffusion.sampling.guidance import conditioned
from meddiff.diffusion.sampling.membership import denoising_losses
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import AugmentationSettings, DiffusionSettings, ScheduleSettings
from meddiff.diffusion.training import trainer
from meddiff.diffusion.training.augmentation import Changes, describe
from meddiff.diffusion.training.images import LabelledImages, load_training_images
from meddiff.diffusion.training.loop import train_ddpm
from meddiff.diffusion.training.steps import GraphStep
from meddiff.diffusion.training.trainer import TrainedDdpm
from nets import TINY

CLASSES = ("dark", "bright")
BOTH = Conditions(CLASSES, with_null=True)
CPU = torch.device("cpu")


def settings_of(**changes: Any) -> DiffusionSettings:
    fixed = {"steps": 6, "batch_size": 4, "network": TINY, "lr": 1e-3, "conditional": True}
    return DiffusionSettings.model_validate(fixed | {"preview": {"images": 0}} | changes)


def flat_images(side: int = 16) -> dict[str, np.ndarray]:
    """Nine dark images and three bright ones, each of one grey."""
    levels = {"dark": range(20, 65, 5), "bright": (210, 220, 230)}
    return {
        name: np.stack([np.full((side, side, 1), level, np.uint8) for level in greys])
        for name, greys in levels.items()
    }


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Return the net with no weight left at zero, where MONAI puts its last layers."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def learnt() -> TrainedDdpm:
    """A net that has seen both classes often enough to tell them apart."""
    settings = settings_of(steps=120, batch_size=8, lr=5e-3, preview={"images": 2, "steps": 3})
    return train_ddpm(flat_images(8), settings, seed=0, name="all")


@pytest.fixture(scope="module")
def checkpoint(learnt: TrainedDdpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ddpm") / "all.safetensors"
    about = {"class": "all", "classes": CLASSES, "settings": settings_of().model_dump()}
    save_checkpoint(path, learnt.weights, about | {"size": 8, "channels": 1})
    return path


def draw(path: Path, name: str, members: Any = range(6), **settings: Any) -> np.ndarray:
    sampler = SamplerSettings.model_validate({"steps": 6} | settings)
    return sample_images(load_ddpm(path), sampler, members, seed=0, name=name)


def test_the_net_is_monais_of_as_many_classes(tmp_path: Path) -> None:
    """The same weights, taken over from a file, give the outputs of MONAI's conditional net."""
    theirs = shaken(
        DiffusionModelUNet(
            2, 1, 1, num_res_blocks=1, channels=[8, 16], attention_levels=[False, True],
            num_head_channels=8, norm_num_groups=4, include_fc=False, num_class_embeds=3,
        )
    )  # fmt: skip
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    weights = import_ddpm(tmp_path / "theirs.pt", settings_of(), 1, CLASSES)
    ours = build_network(1, **TINY, conditions=BOTH).eval()
    ours.load_state_dict(weights)
    noisy, times, labels = (
        torch.randn(3, 1, 8, 8),
        torch.tensor([3, 500, 9]),
        torch.tensor([0, 2, 1]),
    )
    expected = theirs(noisy, timesteps=times, class_labels=labels)
    output = ours(noisy, timesteps=times, class_labels=BOTH.rows(labels))
    assert torch.allclose(output, expected, atol=1e-6)
    with pytest.raises(MeddiffError, match=r"theirs\.pt .*diffusion\.classes\.<class>\.network"):
        import_ddpm(tmp_path / "theirs.pt", settings_of(label_dropout=0.0), 1, CLASSES)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 7))
def test_an_epoch_has_as_many_images_of_every_class(sizes: list[int], epochs: int) -> None:
    images = LabelledImages(torch.zeros(sum(sizes)), tuple(sizes))
    places = np.arange(images.places)
    if len(sizes) == 1:
        assert np.array_equal(images.rows(places, 3), places)
    labels, seen = images.labels(), Counter[int]()
    for epoch in range(1, epochs + 1):
        rows = images.rows(places, epoch)
        assert np.bincount(labels[rows]).tolist() == [max(sizes)] * len(sizes)
        seen.update(rows.tolist())
    for label in range(len(sizes)):
        times = [seen[row] for row in np.flatnonzero(labels.numpy() == label)]
        assert max(times) - min(times) <= 1


def test_labels_are_withheld_at_random_and_from_training_alone() -> None:
    images = flat_images()
    settings = settings_of(label_dropout=0.3)
    loaded = load_training_images(images, images, settings, CPU, seed=0, name="x")
    counts = Counter[tuple[bool, float]]()
    for step in range(1, 201):
        batch = Batch(step, 1, np.arange(loaded.learnt.places), ends_epoch=True)
        clean, conditions = loaded.batch(batch)
        again = loaded.batch(batch)[1]
        assert torch.equal(conditions, again), "it depends on the step alone"
        counts.update(
            zip((clean.mean((1, 2, 3)) > 0).tolist(), conditions[:, 0].tolist(), strict=True)
        )
    total = counts.total()
    assert total == 200 * 18
    for bright in (False, True):
        assert counts[bright, 2] / (total / 2) == pytest.approx(0.3, abs=0.03)
        assert counts[bright, float(not bright)] == 0
    clean, conditions = loaded.validation()
    assert conditions[:, 0].tolist() == [0] * 9 + [1] * 3


def test_guidance_is_equation_6_of_ho_and_salimans() -> None:
    network = shaken(build_network(1, **TINY, conditions=BOTH))
    noisy, times = torch.randn(5, 1, 8, 8), torch.full((5,), 300)
    outputs = [
        network(noisy, timesteps=times, class_labels=BOTH.rows(torch.full((5,), label)))
        for label in (1, BOTH.null)
    ]
    with torch.no_grad():
        for weight in (0.0, 0.5, 3.0):
            output = conditioned(network, BOTH, "bright", weight)(noisy, timesteps=times)
            expected = (1 + weight) * outputs[0] - weight * outputs[1]
            assert torch.allclose(output, expected, atol=1e-4)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


class Gaussians(torch.nn.Module):
    """The exact noise of images whose pixels are normal around -0.5 or 0.5, by class.

    Without a class it is that of the class at -0.5.
    """

    def __init__(self, bars: torch.Tensor) -> None:
        super().__init__()
        self.bars = torch.nn.Parameter(bars.double(), requires_grad=False)

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor
    ) -> torch.Tensor:
        bar = self.bars[timesteps].reshape(-1, 1, 1, 1).float()
        mean = torch.where(class_labels[:, 0] == 1, 0.5, -0.5).reshape(-1, 1, 1, 1)
        return (1 - bar).sqrt() * (noisy - bar.sqrt() * mean) / (bar * 0.01 + 1 - bar)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver", "sde_dpm_solver"])
def test_guided_samples_of_normal_images_lie_where_theory_says(sampler: str) -> None:
    """Scores of two normal densities of one variance differ by their means alone, so that guidance
    w samples a normal density of mean 0.5 + w (0.5 - -0.5)."""
    schedule = build_process(ScheduleSettings(betas="linear", prediction="epsilon"))
    net = Gaussians(schedule.alphas_cumprod)
    model = Ddpm(net, schedule, (1, 16, 16), (-1, 1), 16, BOTH)
    for weight, mean in ((0.0, 0.5), (0.3, 0.8)):
        settings = SamplerSettings(sampler=sampler, steps=50, spacing="even", guidance=weight)
        images = sample_images(model, settings, range(16), seed=0, name="bright")
        assert images.mean() / 127.5 - 1 == pytest.approx(mean, abs=0.02)


def test_each_class_comes_out_as_itself_and_guidance_drives_them_apart(checkpoint: Path) -> None:
    dark, bright = (draw(checkpoint, name) for name in CLASSES)
    assert bright.mean() - dark.mean() > 60
    assert not np.array_equal(draw(checkpoint, "dark", guidance=1), dark)
    gaps = [
        draw(checkpoint, "bright", guidance=w).mean() - draw(checkpoint, "dark", guidance=w).mean()
        for w in (0, 2)
    ]
    assert gaps[1] > gaps[0]
    with pytest.raises(MeddiffError, match=r"dark, bright .*'grey'"):
        draw(checkpoint, "grey")


def test_a_guided_image_is_the_same_whatever_is_drawn_beside_it(checkpoint: Path) -> None:
    whole = draw(checkpoint, "bright", range(36), guidance=1.5, steps=2)
    assert np.array_equal(
        draw(checkpoint, "bright", [33, 2], guidance=1.5, steps=2), whole[[33, 2]]
    )


def test_images_of_a_checkpoint_by_class(checkpoint: Path) -> None:
    sampler = SamplerSettings(steps=6)
    for name in CLASSES:
        images = meddiff.generate(checkpoint, 6, class_name=name, sampler=sampler, device="cpu")
        assert np.array_equal(images, draw(checkpoint, name))
    with pytest.raises(MeddiffError, match="dark, bright"):
        meddiff.generate(checkpoint, 1, device="cpu")


def test_previews_show_every_class(learnt: TrainedDdpm) -> None:
    assert learnt.previews.shape[1:] == (4, 8, 8, 1)
    dark, bright = learnt.previews[-1][:2], learnt.previews[-1][2:]
    assert dark.mean() < bright.mean()


def test_losses_are_those_of_the_images_own_class(checkpoint: Path) -> None:
    model, images = load_ddpm(checkpoint), flat_images(8)
    for name, other in (CLASSES, CLASSES[::-1]):
        own = denoising_losses(model, images[name], seed=0, name=name)
        assert (
            own[:, -1].mean()
            < denoising_losses(model, images[name], seed=0, name=other)[:, -1].mean()
        )


def test_guidance_needs_a_net_that_learnt_without_classes(learnt: TrainedDdpm) -> None:
    network = build_network(1, **TINY)
    for conditions in (Conditions(), Conditions(CLASSES)):
        with pytest.raises(MeddiffError, match=r"sampling\.guidance 2 .*diffusion\.label_dropout"):
            conditioned(network, conditions, "dark", 2.0)


class Ends(Exception):
    """Stands for whatever ends a process."""


class EndsAfter:
    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def on_epoch_end(self, row: Any, images_per_second: float, previews: Any) -> None:
        if row["epoch"] == self.last:
            raise Ends


def test_a_conditional_training_goes_on_and_is_a_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, it ends with the same bits; the step of a GPU gives the same but for rounding."""
    images = flat_images()
    settings = settings_of(steps=12, ema=0.9, augmentation="hand")
    options: dict[str, Any] = {"seed": 0, "name": "all", "validation": images}
    expected = train_ddpm(images, settings, **options)
    assert len(expected.history) == 3, "an epoch is 18 images, in five batches of four"
    for epoch in (1, 2, 3):
        with CheckpointFile(tmp_path / "x.safetensors", {}) as kept:
            if epoch < 3:
                with pytest.raises(Ends):
                    train_ddpm(
                        images, settings, **options, checkpointer=kept, callbacks=[EndsAfter(epoch)]
                    )
            else:
                output = train_ddpm(images, settings, **options, checkpointer=kept)
    assert all(torch.equal(output.weights[key], w) for key, w in expected.weights.items())
    assert output.history.equals(expected.history)
    monkeypatch.setattr(
        trainer,
        "build_step",
        lambda model, settings, runtime, name: GraphStep(model, settings, name),
    )
    graphed = train_ddpm(images, settings, **options)
    columns = ["loss", "validation_loss"]
    np.testing.assert_allclose(graphed.history[columns], expected.history[columns], rtol=1e-4)


def test_changes_that_look_alike_are_described_alike() -> None:
    settings = AugmentationSettings(rotation=180, zoom=0.1, hue=0.02)
    none = Changes(*(torch.zeros(1) for _ in Changes._fields))
    assert not describe(none, settings).any()
    left, right = (
        describe(none._replace(rotation=torch.tensor([a])), settings) for a in (-180.0, 180.0)
    )
    assert torch.allclose(left, right, atol=1e-6) and left.abs().max() > 1
    amounts = none._replace(flip_vertical=torch.ones(1), zoom=torch.tensor([-0.1]))
    described = describe(amounts, settings)
    assert described.shape == (1, CHANGES)
    assert described[0, :6].tolist() == [0, 1, 0, 0, 0, -1]


def test_the_conditions_of_a_batch_undo_its_changes() -> None:
    """Flipped and inverted back as they say, the images are those of the class, in its order."""
    images = {"x": np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)}
    settings = settings_of(augmentation="hand", condition_on_augmentation=True)
    loaded = load_training_images(images, images, settings, CPU, seed=0, name="x")
    clean, conditions = loaded.batch(Batch(1, 3, np.arange(40), ends_epoch=True))
    assert 0.3 < conditions[:, 1].mean() < 0.7 and 0.05 < conditions[:, 3].mean() < 0.45
    for image, row, original in zip(clean, conditions, images["x"], strict=True):
        horizontal, vertical, invert = row[1:4].bool().tolist()
        image = -image if invert else image
        image = image.flip(-1) if horizontal else image
        image = image.flip(-2) if vertical else image
        assert torch.equal(to_uint8(image[None], (-1, 1))[0], torch.from_numpy(original))
    assert not loaded.validation()[1][:, 1:].any()


@pytest.mark.slow
def test_augmentation_as_a_condition_does_not_leak(tmp_path: Path) -> None:
    """Images are bright on their left: few leaky samples are, under the condition nearly all."""
    images = np.random.default_rng(0).integers(0, 40, (32, 8, 8, 1), dtype=np.uint8)
    images[:, :, :3] = 230
    net = TINY | {"channels": [16, 32], "attention": [False, False]}
    augmentation = {"flip_horizontal": 0.5, "invert": 0.5}
    shares = []
    for given_changes in (False, True):
        settings = settings_of(
            steps=600, batch_size=16, lr=5e-3, ema=0.98, network=net, conditional=False,
            augmentation=augmentation, condition_on_augmentation=given_changes,
        )  # fmt: skip
        trained = train_ddpm(images, settings, seed=0, name="x")
        about = {"class": "x", "settings": settings.model_dump(), "size": 8, "channels": 1}
        save_checkpoint(tmp_path / "x.safetensors", trained.weights, about)
        samples = draw(tmp_path / "x.safetensors", "x", range(32), steps=25)
        left, right = samples[:, :, :3].mean((1, 2, 3)), samples[:, :, 3:].mean((1, 2, 3))
        shares.append(((left > 150) & (right < 100)).mean())
    assert shares[0] < 0.5 and shares[1] > 0.8
