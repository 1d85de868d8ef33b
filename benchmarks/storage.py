"""Time DVC on an image set stored as one packed .npy file and as loose PNG files.

    python benchmarks/storage.py --images 12600 --repeats 1

For each layout: `dvc add`, `dvc push`, `dvc pull` into a second clone with an empty cache, for a
directory remote and for S3, and reading every image of that clone into memory. Every repeat runs
both layouts in turn. Times are medians; ratios are medians of the repeats' own ratios.

Each DVC time includes DVC's own start. Files are warm in the page cache. The S3 server is moto on
this machine, without a network's delay but slow to answer: its seconds show how requests add up,
not what a provider takes. All files lie in a temporary folder of up to 1 GB.
"""

import argparse
import http.client
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from PIL import Image

SIZE = 64
PACKED, LOOSE = "packed .npy", "loose PNG"
DVC_CONFIG = """\
[core]
    check_update = false
['remote "directory"']
    url = {directory}
['remote "S3"']
    url = s3://{bucket}
    endpointurl = {endpoint}
"""


def textures(n: int) -> np.ndarray:
    """Smooth colour fields under a camera's noise, uint8 (n, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    waves = np.exp(-(((np.arange(SIZE)[:, None] - np.linspace(0, SIZE, 8)) / 10) ** 2))
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for image in images:
        smooth = (waves @ rng.normal(size=(3, 8, 8)) @ waves.T).transpose(1, 2, 0)
        image[:] = np.clip(128 + 30 * smooth + 4 * rng.normal(size=image.shape), 0, 255)
    return images


def write(images: np.ndarray, layout: str, folder: Path) -> None:
    folder.mkdir()
    if layout == PACKED:
        np.save(folder / "images.npy", images)
    else:
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:06}.png")


def read(layout: str, folder: Path) -> np.ndarray:
    if layout == PACKED:
        return np.load(folder / "images.npy")
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 from this process and give its address."""
    # Optional, hence here.
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def make_bucket(server: str, name: str) -> None:
    connection = http.client.HTTPConnection(server)
    connection.request("PUT", f"/{name}")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise RuntimeError(f"the S3 server made no bucket {name}: status {status}")


def environment(folder: Path) -> dict[str, str]:
    """Keep the user's own settings, caches and keys out of the commands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "dvc_config"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "dvc_cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


def measure(
    images: np.ndarray, layout: str, folder: Path, server: str | None, bucket: str
) -> tuple[dict[str, float], int]:
    """Give seconds by step, and the bytes in the layout's files."""
    repository = folder / "repository"
    variables = environment(folder)
    seconds: dict[str, float] = {}

    def run(*command: str, at: Path = repository) -> float:
        start = perf_counter()
        subprocess.run(command, cwd=at, env=variables, stdout=subprocess.DEVNULL, check=True)
        return perf_counter() - start

    dvc = (sys.executable, "-m", "dvc")
    repository.mkdir(parents=True)
    write(images, layout, repository / "images")
    size = sum(path.stat().st_size for path in (repository / "images").iterdir())
    run("git", "init", "--quiet")
    run(*dvc, "init")
    config = DVC_CONFIG.format(
        directory=folder / "remote", bucket=bucket, endpoint=f"http://{server}"
    )
    (repository / ".dvc/config").write_text(config)
    seconds["dvc add"] = run(*dvc, "add", "images")
    run("git", "add", "--all")
    identity = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    run("git", *identity, "commit", "--quiet", "--message=Images")

    if server:
        make_bucket(server, bucket)
    for remote in ("directory", "S3") if server else ("directory",):
        clone = folder / f"clone from {remote}"
        run("git", "clone", "--quiet", str(repository), str(clone))
        seconds[f"dvc push, {remote}"] = run(*dvc, "push", "--remote", remote)
        seconds[f"dvc pull, {remote}"] = run(*dvc, "pull", "--remote", remote, at=clone)
        start = perf_counter()
        pulled = read(layout, clone / "images")
        reading = perf_counter() - start
        if not np.array_equal(pulled, images):
            raise RuntimeError(f"{layout}: {remote} gave back other images")
        shutil.rmtree(clone)
    return seconds | {"read all images": reading}, size


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time DVC on packed and on loose images.")
    parser.add_argument("--images", type=int, default=12600)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-s3", action="store_true", help="only the directory remote")
    return parser.parse_args()


def main() -> None:
    options = parsed_arguments()
    images = textures(options.images)
    times: dict[str, list[dict[str, float]]] = {PACKED: [], LOOSE: []}
    sizes: dict[str, int] = {}
    with nullcontext() if options.no_s3 else s3_server() as server:
        for repeat in range(options.repeats):
            for number, (layout, rounds) in enumerate(times.items()):
                with tempfile.TemporaryDirectory() as folder:
                    bucket = f"images-{repeat}-{number}"
                    seconds, sizes[layout] = measure(images, layout, Path(folder), server, bucket)
                rounds.append(seconds)

    print(
        f"{len(images)} images {SIZE}x{SIZE}x3 on {os.cpu_count()} cores; {PACKED}: "
        f"{sizes[PACKED] / 1e6:.0f} MB, {LOOSE}: {sizes[LOOSE] / 1e6:.0f} MB"
    )
    print(f"{'seconds':24}{PACKED:>12}{LOOSE:>12}{'loose / packed':>16}")
    for step in times[PACKED][0]:
        packed, loose = ([seconds[step] for seconds in rounds] for rounds in times.values())
        ratio = median(b / a for a, b in zip(packed, loose, strict=True))
        print(f"{step:24}{median(packed):12.2f}{median(loose):12.2f}{ratio:16.1f}")


if __name__ == "__main__":
    main()
