"""Synthetic images that were made elsewhere: read, selected, refused; several generators' table."""

import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meddiff.assessment.generators import by_generator, generators_table
from meddiff.core.errors import MeddiffError
from meddiff.data.imported import import_images, selected
from meddiff.data.listing import list_images
from meddiff.data.origins import Origin, Selection
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.readers.settings import Reading
from meddiff.evaluation.distances import distance_rows
from meddiff.workflow.config import load_config
from meddiff.workflow.generators import THIS_RUN
from meddiff.workflow.imported import imported_sets, other_generators, own_generator
from meddiff.workflow.targets import final_outputs

SIZE = 16
KEY = "generators.gan.benign"
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)


def read(path, label=None, *, images=12, first=0, exact=True, size=SIZE, grey=False):
    return import_images(
        Origin(KEY, str(path), label),
        Selection(first, images, exact, seed=0),
        Preprocessing(None, size, grey),
        reading=Reading(),
        windows={},
    )


def write_folder(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def forms(tmp_path):
    """The same images as a folder, a zip, an .npz of ADM and an .npy."""
    folder = write_folder(tmp_path / "folder", IMAGES)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    np.savez(tmp_path / "set.npz", arr_0=IMAGES)
    np.save(tmp_path / "set.npy", IMAGES)
    return [folder, *(tmp_path / f"set.{suffix}" for suffix in ("zip", "npz", "npy"))]


def test_every_format_gives_the_same_pixels(forms):
    for path in forms:
        np.testing.assert_array_equal(read(path), IMAGES)
    # By the functions of `meddiff evaluate` where the size differs, whatever holds the images.
    expected = list_images(forms[0]).pixels(crop=None, size=8)
    grey = np.array([np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES])
    for path in forms:
        np.testing.assert_array_equal(read(path, size=8), expected)
        np.testing.assert_array_equal(read(path, grey=True)[..., 0], grey)
        assert read(path, images=20, first=12, exact=False).shape == (0, SIZE, SIZE, 3)


def test_labels_of_a_folder_and_of_a_file_choose_a_class(tmp_path):
    for name, part in {"benign": IMAGES[:5], "malignant": IMAGES[5:]}.items():
        write_folder(tmp_path / "set" / name, part)
    labels = np.array(["benign"] * 5 + ["malignant"] * 7)
    np.savez(tmp_path / "set.npz", arr_0=IMAGES, arr_1=labels)
    for path in (tmp_path / "set", tmp_path / "set.npz"):
        np.testing.assert_array_equal(read(path, "malignant", images=7), IMAGES[5:])


@given(total=st.integers(2, 40), images=st.integers(2, 30), more=st.integers(0, 30))
def test_two_sets_of_one_source_share_nothing(total, images, more):
    drawn, rest = (
        selected(total, Selection(first, last, False, seed=0), "set").tolist()
        for first, last in ((0, images), (images, images + more))
    )
    assert len(drawn) == min(total, images) and len(rest) == min(more, max(0, total - images))
    assert not {*drawn} & {*rest} and drawn == sorted(drawn) and rest == sorted(rest)
    assert total > images or drawn == list(range(total))


def test_fewer_images_are_reported_in_one_line_with_key_and_file(forms, caplog):
    with caplog.at_level(logging.WARNING, "meddiff"):
        images = read(forms[0], images=20, exact=False)
    [line] = caplog.messages
    assert len(images) == 12 and KEY in line and str(forms[0]) in line and "20" in line


def spoil(path: Path) -> None:
    (path / "000.png").write_bytes((path / "000.png").read_bytes()[:60])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda f: read(f[0], images=13), r"folder .*\b12 .*sampling\.images .*\b13\b"),
        (lambda f: read(f[0], "malignant"), r"folder .*\bmalignant\b"),
        (lambda f: read(f[0].with_name("absent")), r"absent"),
        (lambda f: [spoil(f[0]), read(f[0])], r"000\.png"),
        (lambda f: [f[2].write_bytes(f[2].read_bytes()[:999]), read(f[2])], r"set\.npz"),
        (lambda f: [np.save(f[3], IMAGES[..., :2]), read(f[3])], r"set\.npy .*uint8 \(12, 16"),
        (lambda f: [np.save(f[3], IMAGES / 255), read(f[3])], r"set\.npy .*float64 .*x 255"),
    ],
)
def test_a_fault_is_one_line_with_key_and_file(forms, fault, words):
    with pytest.raises(MeddiffError, match=f"^{re.escape(KEY)}: .*{words}") as caught:
        fault(forms)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generators": {"gan": {"benign": "x"}}}, r"generators\.gan .*\bmalignant\b"),
        ({"generators": {"gan": {"benign": "x", "malignant": "y", "mole": "z"}}}, r"gan .*mole\b"),
        ({"generators": {"gan": ["x"]}}, r"generators\.gan = \['x'\]: .*this_run"),
        ({"generators": {"gan": {"benign": 1.5, "malignant": "y"}}}, r"generators\.gan\.benign"),
        ({"generators": {"real": "x"}}, r"generators: real\b"),
        ({"generators": {"a": THIS_RUN, "b": THIS_RUN}}, r"generators: a and b .*this_run"),
        ({"diffusion": {"classes": {"benign": {"images": "x", "epochs": 3}}}},
         r"classes\.benign: epochs .*images"),
        ({"diffusion": {"classes": {"benign": {"images": "x", "checkpoint": "y", "network": {},
                                               "schedule": {}}}}}, r"benign: .*checkpoint.*images"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_one_line(values, message):
    with pytest.raises(MeddiffError, match=message) as caught:
        load_config(values)
    assert len(str(caught.value).splitlines()) == 1


def test_no_ddpm_stands_behind_a_class_with_images():
    cfg = load_config({"diffusion": {"classes": {"benign": {"images": "x"}}}})
    outputs = final_outputs(cfg, [])
    assert "results/figures/ddpm/malignant_curves.png" in outputs
    assert not any(
        path.endswith(("ddpm/benign_curves.png", "samples/benign.png")) for path in outputs
    )
    assert {"results/memorisation.csv", "results/verdict.csv"} <= {*outputs}


PATHS = {"gan": "a", "adm": {"benign": "b", "malignant": "c"}, "ours": THIS_RUN}


@pytest.fixture(scope="module")
def distances(tmp_path_factory):
    """Files of distances by generator."""
    folder = tmp_path_factory.mktemp("metrics")
    files = {name: folder / f"generators/{name}/distances/net.csv" for name in ("gan", "adm")}
    files["ours"] = folder / "distances/net.csv"
    for name, file in files.items():
        draw = np.random.default_rng(len(name))
        sets = {key: {"benign": draw.normal(size=(9, 3))} for key in ("synthetic", "noise")}
        reference = {"benign": IMAGES[:, 0, 0].astype(float)}
        file.parent.mkdir(parents=True)
        distance_rows("net", reference, sets, n_resamples=4, seed=0).to_csv(file, index=False)
    return files


def table_of(files: list[Path]) -> pd.DataFrame:
    return generators_table(by_generator(files, "ours"), {}, None, own="ours", reference="test")


@given(order=st.permutations(sorted(PATHS)))
def test_the_order_of_generators_changes_nothing(distances, order):
    cfg = load_config({"generators": {name: PATHS[name] for name in order}})
    assert other_generators(cfg) == ["adm", "gan"] and own_generator(cfg) == "ours"
    sets = imported_sets(cfg, Path("root"))
    assert list(sets)[:2] == [f"generators/adm/synthetic/{c}" for c in ("benign", "malignant")]
    table = table_of([distances[name] for name in order])
    assert table["generator"].unique().tolist() == ["ours", "adm", "gan", "real", "noise"]
    pd.testing.assert_frame_equal(table, table_of(list(distances.values())))
