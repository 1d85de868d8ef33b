"""The recipes of docs/architecture.md, followed on a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

PLAN = """
import json
from pathlib import Path
from meddiff.workflow.sharing.dag import open_plan
out = {}
for name, overlay in json.loads(Path("overlays.json").read_text()).items():
    Path(f"{name}.yaml").write_text(json.dumps(overlay))
    with open_plan(["--directory", f"runs/{name}", "--configfile", f"{name}.yaml"]) as plan:
        out[name] = {path: [s.rule, s.params, s.inputs] for s in plan.steps for path in s.outputs}
print(json.dumps(out))
"""
CLASSIFIER = '''
"""The class whose mean image is nearest."""

import numpy as np
from scipy.special import softmax

from meddiff.cas.base import FittedClassifier, TrainingSet


class NearestMean:
    def transform(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 255

    def fit(self, training: TrainingSet) -> FittedClassifier:
        x, y = training.inputs, training.labels
        means = [x[y == k].mean(0) for k in np.unique(y)]
        gaps = lambda x: [-((x - m) ** 2).mean(1) for m in means]
        return FittedClassifier(lambda x: softmax(gaps(x), axis=0).T)
'''
NET = '''
"""A net of one layer."""

import torch
from torch import nn


class Tiny(nn.Module):
    dimension = 3

    @staticmethod
    def transform(images):
        return images.float().permute(0, 3, 1, 2) / 255

    def features(self, batch):
        return batch.mean((2, 3))


def build(*_):
    return Tiny()
'''
DISTANCE = '''
"""Distance of the means of features."""

import numpy as np

from meddiff.core.randomness import stream


def means_distance(one, other):
    return float(np.linalg.norm(one.mean(0) - other.mean(0)))


def weighted_means(one, other):
    def distances(w, v):
        means = (c @ x / c.sum(1, keepdims=True) for c, x in ((w, one), (v, other)))
        return np.linalg.norm(np.subtract(*means), axis=1)

    return distances
'''
PAIR = '''
"""Mean absolute difference of pairs of images."""

import numpy as np
from scipy.spatial.distance import squareform


def mad_between(a, b):
    return np.abs(a[:, None].astype(float) - b[None]).reshape(len(a), len(b), -1).mean(2)


def mad_pairs(images, progress=None):
    return squareform(mad_between(images, images), checks=False)
'''
READER = """
from meddiff.data.sources.tables import record_table


def read_atlas(versions, policy):
    files = versions["1"]
    table = record_table(id=["a"], edition="1", image=["a"], archive=files["images"], member=["a"])
    return table, None
"""


def insert(file: Path, before: str, text: str) -> None:
    content = file.read_text()
    assert before in content, f"{before!r} not in {file}"
    file.write_text(content.replace(before, text + before, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which every recipe was followed."""
    root = tmp_path_factory.mktemp("recipes")
    for name in ("src", "workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "Snakefile", root / "Snakefile")
    package = root / "src/meddiff"
    # A classifier.
    (package / "cas/nearest.py").write_text(CLASSIFIER)
    insert(
        package / "cas/classifiers.py",
        "    from meddiff.cas.nets import Net\n",
        '    if name == "nearest":\n        from meddiff.cas.nearest import NearestMean\n\n'
        "        return NearestMean()\n",
    )
    insert(package / "cas/classifiers.py", '"hog_svm")', '"nearest", ')
    insert(package / "reporting/names.py", '"hog_svm": "HOG', '"nearest": "Nearest mean", ')
    cas_settings = package / "cas/settings.py"
    text = cas_settings.read_text()
    assert 'Literal["skinlesnet", "resnet50"]' in text
    cas_settings.write_text(
        text.replace('Literal["skinlesnet", "resnet50"]', 'Literal["skinlesnet", "nearest"]')
    )
    # Extractors, a published and a trained one.
    for name in ("tiny", "small"):
        (package / f"extractors/{name}.py").write_text(NET)
    nets = package / "extractors/settings.py"
    for name, other in (("small", "unet"), ("tiny", "inception")):
        text = nets.read_text()
        assert f'"{other}"' in text
        nets.write_text(text.replace(f'"{other}"', f'"{name}", "{other}"', 1))
    insert(
        package / "extractors/weights.py",
        '    "resnet50": Pre',
        '    "tiny": PretrainedWeights("Weights of Tiny", "tiny.pth", "do without"),\n',
    )
    insert(
        nets,
        "    pretrained: list[PretrainedName]",
        "    small: TrainingSettings = TrainingSettings()\n",
    )
    rows = package / "data/registry.csv"
    rows.write_text(
        rows.read_text()
        + "weights/tiny.pth,1,authors,weights,https://example.org/tiny.pth,,,,MIT,Authors\n"
        + "atlas/images.zip,1,atlas,images,https://example.org/images.zip,,,,MIT,Authors\n"
        + "atlas/labels.csv,1,atlas,labels,https://example.org/labels.csv,,,,MIT,Authors\n"
    )
    # Metrics, of features and of pairs of images.
    (package / "metrics/means.py").write_text(DISTANCE)
    distances = package / "metrics/distances.py"
    insert(distances, "from meddiff.metrics.features", "from meddiff.metrics.means import *\n")
    insert(
        distances,
        '    "cmmd": ',
        '    "means": DistanceMeasure(means_distance, weighted_means, 0),\n',
    )
    (package / "metrics/mad.py").write_text(PAIR)
    similarity = package / "metrics/similarity.py"
    insert(similarity, "PAIRS: ", "from meddiff.metrics.mad import mad_between, mad_pairs\n\n")
    for name in ("pairs", "between"):
        text = similarity.read_text()
        assert f'"ssim": ssim_{name}' in text
        text = text.replace(f'"ssim": ssim_{name}', f'"mad": mad_{name}, "ssim": ssim_{name}')
        similarity.write_text(text)
    # A data set.
    (package / "data/sources/atlas.py").write_text(READER)
    catalogue = package / "data/catalogue.py"
    insert(catalogue, '"folder"]', '"atlas", ')
    insert(
        catalogue,
        '    "mednist": ',
        '    "atlas": ImageSource("atlas", ("benign", "malignant"), isic2016=True),\n',
    )
    published = package / "data/sources/published.py"
    insert(
        published,
        "from meddiff.data.sources.challenge",
        "from meddiff.data.sources.atlas import read_atlas\n",
    )
    insert(published, '    "mednist": ', '    "atlas": read_atlas,\n')
    (root / "lesions").mkdir()
    (root / "lesions.csv").write_text("id,label\n")
    return root


@pytest.fixture(scope="module")
def run(project: Path) -> Callable[[str], Any]:
    """Return a function that runs code with the copy's library and returns the JSON it prints."""

    def run(code: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def plans(project: Path, run: Callable[[str], Any]) -> dict[str, dict[str, Any]]:
    """What is planned, by configuration and output: rule, parameters and inputs."""
    folder = {"images": "lesions", "table": "lesions.csv", "id_column": "id"}
    overlays = {
        "added": {
            "cas": {"classifiers": ["skinlesnet", "nearest"]},
            "extractors": {"pretrained": ["tiny"]},
        },
        "classes": {
            "data": {"source": "folder", "classes": ["a", "b", "c"], "folder": folder},
        },
        "atlas": {"data": {"source": "atlas"}},
    }
    (project / "overlays.json").write_text(json.dumps(overlays))
    return run(PLAN)


def test_a_classifier_reaches_tables_figures_and_verdict(plans):
    plan = plans["added"]
    assert plan["cas/nearest.csv"][0] == "cas_arms"
    for table in ("results/table_5_3.csv", "results/verdict.csv", "results/figures/cas/arms.png"):
        rule, _, inputs = plan[table]
        assert "cas/nearest.csv" in inputs or rule == "cas_figures"


def test_a_classifier_is_trained_scored_and_judged(run):
    output = run("""
import json, numpy as np
from meddiff.cas.arms import Pool
from meddiff.cas.classifiers import build_classifier
from meddiff.cas.experiment import HeldOut, run_arms
from meddiff.cas.settings import CasSettings
from meddiff.cas.tables import arms_table, score_arms
from meddiff.cas.verdict import Evidence, verdict_table
from meddiff.cas.verdict_text import Wording, verdict_text

chance, labels = np.random.default_rng(0), np.arange(80) % 2
images = (chance.integers(0, 90, (80, 8, 8, 3)) + 90 * labels[:, None, None, None]).astype("u1")
kind = np.repeat(["real", "synthetic"], 40)
settings = CasSettings(classifiers=["nearest"], arms=["real", "synthetic", "mixed"], steps=1)
pool = Pool(images, labels, kind, np.arange(80))
names = [str(i) for i in range(40)]
held_out = dict.fromkeys(["validation", "test"], HeldOut(images[:40], labels[:40], names, names))
classifier = build_classifier("nearest", 2, 8, settings)
runs = run_arms(classifier, pool, held_out, ["a", "b"], settings, equal_steps=True,
                repetitions=2, seed=0).assign(classifier="nearest", source_file="x")
scored = score_arms(runs, ["a", "b"], specificity=0.9, n_resamples=20, seed=0)
evidence = Evidence(margin=0.05, test_images={"a": 20, "b": 20},
                    test_groups=40, shared=0)
arms = arms_table(scored)
text = verdict_text(verdict_table(scored, evidence), arms, {"data": "phantom"}, Wording())
print(json.dumps([len(arms), text]))
""")
    assert output[0] > 0 and "Nearest mean" in output[1]


def test_a_published_extractor_reaches_table_and_matrices(plans):
    plan = plans["added"]
    assert plan["models/pretrained/tiny.safetensors"][0] == "pretrained_weights"
    assert "metrics/distances/tiny.csv" in plan["results/table_5_2.csv"][2]
    assert "results/matrices/fid_tiny.csv" in plan


def test_a_trained_extractor_reaches_both_tables_and_its_figure(plans):
    plan = plans["added"]
    assert plan["models/small.safetensors"][0] == "train_classifier"
    assert "predictions/small.csv" in plan["results/table_5_1.csv"][2]
    assert "metrics/distances/small.csv" in plan["results/table_5_2.csv"][2]
    assert "results/figures/extractors/small_curves.png" in plan


@pytest.mark.parametrize("metric", ["means_skinlesnet", "means_tiny", "mad"])
def test_a_metric_has_a_matrix_and_its_picture(plans, metric):
    plan = plans["added"]
    assert plan[f"results/matrices/{metric}.csv"][0].endswith("_matrix")
    assert f"results/matrices/{metric}.csv" in plan["results/matrices/mad.png"][2]


def test_a_metric_has_floor_ceiling_interval_and_score_and_fills_its_matrix(run):
    rows, matrix, pairs, between = run("""
import json, numpy as np
from meddiff.evaluation.distances import distance_matrix, distance_rows
from meddiff.evaluation.similarity import MeasuredPairs, similarity_matrix, similarity_rows
from meddiff.metrics.similarity import PAIRS
from meddiff.reporting.image_quality import image_quality

chance = np.random.default_rng(0)
def some(shift):
    return chance.normal(size=(40, 4)) + shift
scored = {"synthetic": {"a": some(1)}, "real": {"a": some(0)}, "noise": {"a": some(9)}}
rows = distance_rows("unet", {"a": some(0)}, scored, n_resamples=20, seed=0)
table = image_quality([rows.assign(source_file="x")], "test", {})
keys = {("train", "a"): some(0), ("test", "a"): some(1)}
matrix = distance_matrix(keys, "means", most=20, n_resamples=20, seed=0)
images = chance.integers(0, 256, (2, 20, 4, 4, 3), dtype=np.uint8)
measured = MeasuredPairs({"mad": PAIRS["mad"](images[0], progress=print)}, 20, 64)
pairs = similarity_rows("a", "real", measured, n_resamples=20, seed=0)
sets = {("train", "a"): images[0], ("test", "a"): images[1]}
between = similarity_matrix(sets, "mad", {}, most=20, n_resamples=20, seed=0)
print(json.dumps([json.loads(t.to_json(orient="records"))
                  for t in (table[table["metric"] == "means"], matrix, pairs, between)]))
""")
    by_set = {row["image_set"]: row for row in rows}
    assert by_set["real"]["value"] < by_set["synthetic"]["value"] < by_set["noise"]["value"]
    ours = by_set["synthetic"]
    assert ours["ci_low"] <= ours["value"] <= ours["ci_high"]
    assert 0 < ours["score_ci_low"] <= ours["score"] <= ours["score_ci_high"] < 1
    assert len(matrix) == len(between) == 4 and len(pairs) == 1
    assert all(row["value"] is not None for row in [*matrix, *between, *pairs])


def test_a_class_reaches_every_phase(plans):
    plan = plans["classes"]
    for name in ("a", "b", "c"):
        for path in (
            f"models/ddpm/{name}.safetensors",
            f"data/images/synthetic/{name}.npy",
            f"results/samples/{name}.png",
        ):
            assert path in plan
    assert plan["results/table_5_3.csv"][1]["classes"] == ["a", "b", "c"]


def test_a_data_set_is_fetched_and_indexed(plans):
    plan = plans["atlas"]
    files = ["data/raw/published/atlas/images.zip", "data/raw/published/atlas/labels.csv"]
    assert all(plan[path][0] == "download" for path in files)
    rule, params, inputs = plan["data/images/index.csv"]
    assert rule == "index" and params["source"] == "atlas" and sorted(inputs) == files
    assert not any("kaggle" in path for path in plan)
