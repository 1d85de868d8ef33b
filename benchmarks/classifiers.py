"""Time the experiment's training of a classifier against torchvision and a DataLoader.

    python benchmarks/classifiers.py --size 64 --repeats 5

Both train the same SkinLesNet on as many images of two classes, in batches of 32 with Adam. The
peer is the loop of PyTorch's tutorials: ImageFolder, Resize, ToTensor, a DataLoader with as many
workers as there are threads, cross-entropy, `loss.item()` at every step. Its files are JPEGs of
quality 90, of 224 px as Kaggle has them, or of the training's own size, which needs no resizing.
Ours is `learn` of `meddiff.cas.nets` with all that belongs to it, on the array that the workflow
has packed, which all arms share; `bf16` is `cas.precision`.

Every repeat runs all contenders in turn, so that a busy machine slows all alike; ratios are medians
of the repeats' own. One untimed run each starts the workers and loads the libraries. Files are
warm in the page cache, and workers persist.
"""

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Resize, ToTensor

from meddiff.cas.base import TrainingSet
from meddiff.cas.classifiers import build_classifier
from meddiff.cas.settings import CasSettings
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_view
from meddiff.extractors.skinlesnet import SkinLesNet

BATCH = 32
PUBLISHED = 224
Contender = Callable[[], object]


def write_files(folder: Path, images: np.ndarray, size: int) -> None:
    for number, image in enumerate(images):
        place = folder / ("even" if number % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((size, size)).save(place / f"{number}.jpg", quality=90)


def tutorial(folder: Path, size: int, steps: int, threads: int) -> Contender:
    data = ImageFolder(str(folder), Compose([Resize((size, size)), ToTensor()]))
    loader = DataLoader(
        data, BATCH, shuffle=True, drop_last=True, num_workers=threads, persistent_workers=True
    )

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    source = batches()

    def train() -> None:
        net = SkinLesNet(2, size).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(steps):
            images, labels = next(source)
            optimizer.zero_grad()
            loss = cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            loss.item()

    return train


def ours(images: np.ndarray, steps: int, precision: str) -> Contender:
    settings = CasSettings.model_validate(
        {"steps": steps, "batch_size": BATCH, "precision": precision}
    )
    classifier = build_classifier("skinlesnet", 2, images.shape[1], settings)
    inputs = classifier.transform(images)
    labels = np.arange(len(images)) % 2
    training = TrainingSet(inputs, labels, np.arange(len(images)), steps, steps, 0, "benchmark")
    return lambda: classifier.fit(training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable()
    large = drawn(options.images)
    small = np.stack(
        [np.asarray(Image.fromarray(image).resize((options.size, options.size))) for image in large]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder / "published", large, PUBLISHED)
        write_files(folder / "small", large, options.size)
        peers = {
            f"torchvision, {PUBLISHED} px files": folder / "published",
            f"torchvision, {options.size} px files": folder / "small",
        }
        contenders: dict[str, Contender] = {
            label: tutorial(place, options.size, options.steps, options.threads)
            for label, place in peers.items()
        }
        contenders |= {f"meddiff, {p}": ours(small, options.steps, p) for p in ("fp32", "bf16")}
        report(contenders, list(peers), options.steps * BATCH, options.repeats)


def drawn(count: int) -> np.ndarray:
    chance = np.random.default_rng(0)
    few = [
        draw_lesion(sample_lesion(chance, bool(n % 2)), sample_view(chance), PUBLISHED)[0]
        for n in range(60)
    ]
    return np.stack([few[n % len(few)] for n in range(count)])


def report(contenders: dict[str, Contender], peers: list[str], images: int, repeats: int) -> None:
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    print(f"{'':28}images/s" + "".join(f"  beside {peer}" for peer in peers))
    for name, times in seconds.items():
        line = f"{name:28}{images / median(times):8.0f}"
        for peer in peers:
            ratios = [b / a for a, b in zip(times, seconds[peer], strict=True)]
            line += f"  {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(line)


if __name__ == "__main__":
    main()
