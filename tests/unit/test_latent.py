"""Autoencoders, their training, and DDPMs in their latent space."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from meddiff.core.arrays import load_array, save_array
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.latent import training
from meddiff.diffusion.latent.autoencoder import Autoencoder, load_autoencoder
from meddiff.diffusion.latent.settings import LatentSettings
from meddiff.diffusion.latent.training import TrainedAutoencoder, train_autoencoder
from meddiff.diffusion.launch import DdpmJob, launch
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.likelihood import bits_per_dimension
from meddiff.diffusion.sampling.membership import denoising_losses
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.evaluation.reconstruction import reconstructed, reconstruction_table
from nets import TINY

KINDS = ["autoencoder_kl", "vqvae"]
LONGER: dict[str, Any] = {
    "steps": 150,
    "channels": [16, 16],
    "lr": 5e-3,
    "adversarial_weight": 0,
}


def settings_of(kind: str = KINDS[0], **changes: Any) -> LatentSettings:
    fixed = {"kind": kind, "steps": 12, "channels": [8, 16], "norm_groups": 4, "batch_size": 4}
    return LatentSettings.model_validate(fixed | {"codes": 32, "lr": 2e-3} | changes)


def discs(count: int) -> np.ndarray:
    """Coloured discs on a bright ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    images = np.full((count, 16, 16, 3), 210, np.uint8)
    for image in images:
        (i, j), radius = rng.integers(5, 11, 2), rng.integers(3, 6)
        image[(y - i) ** 2 + (x - j) ** 2 < radius**2] = rng.integers(20, 150, 3)
    return images


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_monais_with_unit_variance(kind: str) -> None:
    torch.manual_seed(0)
    model, pixels = Autoencoder(3, settings_of(kind)).eval(), torch.from_numpy(discs(19))
    images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        theirs = model.net.encode(images)
        theirs = theirs[0] if kind == KINDS[0] else theirs
        decoded = model.net.decode_stage_2_outputs(theirs)
    model.standardise(pixels)
    latents = model.encode(pixels)
    assert latents.shape == (19, 3, 8, 8)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(3), atol=1e-5)
    assert torch.allclose(latents * model.spread + model.mean, theirs, atol=1e-5)
    # A code at the border of two cells may fall into either.
    assert (model.decode(latents) - decoded).abs().mean() < 1e-3
    assert torch.equal(model.encode(pixels[:11]), latents[:11])


def test_the_divergence_is_that_of_normal_densities() -> None:
    torch.manual_seed(0)
    model, images = Autoencoder(1, settings_of()), torch.rand(5, 1, 16, 16)
    mean, spread = model.net.encode(images)
    normal = torch.distributions.Normal(mean, spread)
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(spread))
    expected = torch.distributions.kl_divergence(normal, standard).sum() / 5
    _, divergence = model.reconstruct(images, torch.zeros_like(mean))
    assert divergence.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.fixture(scope="module")
def learnt() -> TrainedAutoencoder:
    """An autoencoder that has seen enough discs to show where they are."""
    return train_autoencoder(discs(24), settings_of(**LONGER), seed=0, validation=discs(30)[24:])


def test_training_beats_one_grey_level(learnt: TrainedAutoencoder) -> None:
    unseen = discs(30)[24:]
    flat = np.abs(unseen.astype(float) - np.median(unseen, (0, 1, 2))).mean() / 127.5
    assert learnt.history["validation_loss"].iloc[-1] < 0.8 * flat
    assert learnt.history["step"].iloc[-1] == LONGER["steps"]
    made = reconstructed(learnt.model, unseen)
    error = np.abs(unseen.astype(float) - made).mean() / 127.5
    assert error == pytest.approx(learnt.history["validation_loss"].iloc[-1], abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_training_goes_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the discriminator learns: the bits are those of one run."""

    def train(checkpointer: CheckpointFile | None = None) -> TrainedAutoencoder:
        settings = settings_of(kind, adversarial_weight=0.1, adversarial_from=0.25)
        return train_autoencoder(discs(10), settings, seed=0, checkpointer=checkpointer)

    expected = train()
    real = training._Trainer.step

    for last in (3, 8, None):
        with CheckpointFile(tmp_path / "x.state.safetensors", {}) as file:
            if last is None:
                resumed = train(file)
                continue

            def ending(trainer: Any, batch: Any, last: int = last) -> float:
                if batch.step > last:
                    raise KeyboardInterrupt
                return real(trainer, batch)

            monkeypatch.setattr(training._Trainer, "step", ending)
            with pytest.raises(KeyboardInterrupt):
                train(file)
            monkeypatch.setattr(training._Trainer, "step", real)
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[key], w) for key, w in expected.model.state_dict().items())
    assert resumed.history.equals(expected.history)


@pytest.fixture(scope="module")
def checkpoint(learnt: TrainedAutoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DDPM trained on latents; the file of its autoencoder is gone."""
    folder = tmp_path_factory.mktemp("latent")
    settings = settings_of(**LONGER).model_dump()
    save_checkpoint(
        folder / "a.safetensors", learnt.model.state_dict(), {"latent": settings, "channels": 3}
    )
    save_array(discs(24), folder / "x.npy")
    ddpm = {"steps": 4, "network": TINY, "latent": settings, "batch_size": 4, "lr": 1e-3}
    ddpm |= {"preview": {"images": 2, "steps": 2}}
    job = DdpmJob(
        name="x", images=[str(folder / "x.npy")], validation=[str(folder / "x.npy")],
        settings=DiffusionSettings.model_validate(ddpm).model_dump(), seed=0, code="",
        compute={"threads": 1}, device="cpu", autoencoder=str(folder / "a.safetensors"),
        checkpoint=str(folder / "x.safetensors"), history=str(folder / "x.csv"),
        previews=str(folder / "previews.npy"), speed=str(folder / "speed.csv"),
    )  # fmt: skip
    assert "a.safetensors" in str(asdict(job))
    launch(job)
    (folder / "a.safetensors").unlink()
    return folder / "x.safetensors"


def test_a_ddpm_of_latents_draws_images_from_one_file(checkpoint: Path) -> None:
    model = load_ddpm(checkpoint)
    assert model.shape == (3, 8, 8) and model.image_shape == (3, 16, 16)
    options: dict[str, Any] = {"seed": 0, "name": "x"}
    images = sample_images(model, SamplerSettings(steps=3), range(5), **options)
    assert images.shape == (5, 16, 16, 3) and images.dtype == np.uint8
    again = sample_images(model, SamplerSettings(steps=3), [3, 1], **options)
    assert np.array_equal(again, images[[3, 1]])
    assert load_array(checkpoint.with_name("previews.npy")).shape[1:] == (2, 16, 16, 3)
    with pytest.raises(MeddiffError, match=r"diffusion\.latent"):
        bits_per_dimension(model, discs(3), seed=0, name="x")
    losses = denoising_losses(model, discs(3), seed=0)
    assert np.isfinite(losses).all() and losses.shape == (3, 5)


def test_latents_are_not_clipped(checkpoint: Path) -> None:
    """Values of unit variance lie beyond 1, where pixels end."""
    model = load_ddpm(checkpoint)
    assert model.limit == np.inf
    assert model.from_pixels(torch.from_numpy(discs(24))).abs().max() > 1


def test_what_is_lost_is_what_other_libraries_measure(learnt: TrainedAutoencoder) -> None:
    images = discs(8)
    sets = {"test": {"x": images}}
    table = reconstruction_table(learnt.model, sets, kernel_size=7, sigma=1.5)
    made = reconstructed(learnt.model, images)
    psnr = [peak_signal_noise_ratio(a, b) for a, b in zip(images, made, strict=True)]
    row = table.set_index("metric").loc["psnr"]
    assert row["value"] == pytest.approx(np.mean(psnr)) and row["n_images"] == 8
    reach = 1.959964 * np.std(psnr, ddof=1) / 8**0.5
    assert row["ci_high"] - row["value"] == pytest.approx(reach, rel=1e-4)
    assert 0 < table.set_index("metric").loc["ssim", "value"] < 1


def test_a_file_that_is_no_autoencoder_is_refused(checkpoint: Path) -> None:
    with pytest.raises(MeddiffError, match=r"x\.safetensors .*autoencoder"):
        load_autoencoder(checkpoint)
