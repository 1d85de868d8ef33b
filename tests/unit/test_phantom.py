import io
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import affine_transform
from scipy.signal import find_peaks
from skimage.filters import threshold_otsu
from skimage.measure import perimeter
from skimage.metrics import peak_signal_noise_ratio
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.data.phantom.archives import write_isic2016, write_kaggle_edition, write_mednist
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_skin, sample_view
from meddiff.data.phantom.hand import draw_hand
from meddiff.data.phantom.plan import plan_editions

COUNTS = {
    "2018": {"benign": 24, "malignant": 12},
    "2019": {"benign": 24, "malignant": 12},
    "2020": {"benign": 20, "malignant": 8},
}
COPY_CAUSE = ["skin_seed", "lesion_seed", "seed", "lesion", "target"]


def draw(seed: int, malignant: bool, size: int | tuple[int, int] = 96, hair: bool = True):
    rng = np.random.default_rng([seed, malignant])
    lesion, view = sample_lesion(rng, malignant), sample_view(rng)
    return draw_lesion(lesion, view if hair else replace(view, hairs=()), size)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def images_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {Path(name).stem: archive.read(name) for name in archive.namelist() if "jpg" in name}


@pytest.fixture(scope="module")
def plan() -> pd.DataFrame:
    return plan_editions(5, COUNTS, exact_duplicates=0.34, near_duplicates=0.25)


@pytest.fixture(scope="module")
def archives(plan: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kaggle")
    paths = {edition: folder / f"isic-{edition}.zip" for edition in COUNTS}
    for edition, path in paths.items():
        write_kaggle_edition(path, plan[plan["edition"] == edition], size=112)
    return paths


# Dermoscopy


@pytest.mark.parametrize("size, shape", [(32, (32, 32)), (224, (224, 224)), ((75, 100), (75, 100))])
def test_a_lesion_is_drawn_at_the_size_asked_for_and_again_the_same(size, shape):
    image, mask = draw(3, True, size)
    again, mask_again = draw(3, True, size)
    assert (image.shape, image.dtype) == ((*shape, 3), np.uint8)
    assert (mask.shape, mask.dtype) == (shape, bool)
    assert np.array_equal(image, again) and np.array_equal(mask, mask_again)


def test_the_mask_is_where_the_image_is_dark_and_not_transposed():
    straight, transposed = [], []
    for seed in range(40):
        image, mask = draw(seed, malignant=True, hair=False)
        red_free = image[..., 1:].mean(-1)
        dark = red_free < threshold_otsu(red_free)
        straight.append(iou(dark, mask))
        transposed.append(iou(dark, mask.T))
    assert np.median(straight) > 0.85
    assert np.quantile(straight, 0.1) > 0.6
    assert np.mean(np.array(straight) > np.array(transposed)) > 0.9


def test_thumbnails_show_the_lesion():
    for malignant in (False, True):
        contrasts = []
        for seed in range(40):
            image, mask = draw(seed, malignant, size=32)
            skin, lesion = image[~mask].astype(float), image[mask].astype(float)
            contrasts.append(np.linalg.norm(skin.mean(0) - lesion.mean(0)))
            assert 0.04 < mask.mean() < 0.6
        assert np.min(contrasts) > 40


def test_a_turned_and_a_zoomed_photograph_show_the_same_lesion():
    rng = np.random.default_rng(1)
    lesion = sample_lesion(rng, malignant=True)
    view = replace(sample_view(rng), rotation=0.3, zoom=1.0, shift=(0.0, 0.0))
    mask = draw_lesion(lesion, view, 128)[1]
    turned = draw_lesion(lesion, replace(view, rotation=0.3 + np.pi / 2), 128)[1]
    near = draw_lesion(lesion, replace(view, zoom=1.1), 128)[1]
    assert iou(np.rot90(mask, -1), turned) > 0.97
    assert near.sum() / mask.sum() == pytest.approx(1.21, rel=0.02)


def test_a_photograph_taken_again_differs_in_light_but_not_in_shape():
    rng = np.random.default_rng(2)
    lesion, view = sample_lesion(rng, malignant=True), sample_view(rng)
    other = replace(sample_view(rng), rotation=view.rotation, zoom=view.zoom, shift=view.shift)
    image, mask = draw_lesion(lesion, view, 96)
    image_again, mask_again = draw_lesion(lesion, other, 96)
    assert np.array_equal(mask, mask_again)
    assert np.abs(image.astype(float) - image_again).mean() > 2


def test_skin_light_vignette_and_hair_vary():
    rng = np.random.default_rng(0)
    views = [sample_view(rng) for _ in range(300)]
    skins = np.array([sample_skin(rng) for _ in range(300)])
    hairy = np.mean([bool(view.hairs) for view in views])
    assert 0.05 < hairy < 0.3
    assert np.ptp([view.light for view in views], axis=0).min() > 0.15
    assert 0.1 < max(view.vignette for view in views) < 0.3
    assert skins.min() > 0 and skins.max() < 1
    assert np.ptp(skins, axis=0).min() > 0.15


def abcd(image: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """Asymmetry over the principal axes, border irregularity, and spread of colour."""
    places = np.argwhere(mask)
    centre = places.mean(0)
    axes = np.linalg.eigh(np.cov((places - centre).T))[1]
    middle = (len(mask) - 1) / 2
    upright = affine_transform(mask * 1.0, axes, centre - axes @ [middle, middle], order=1) > 0.5
    folds = [(upright ^ np.flip(upright, axis)).sum() / upright.sum() for axis in (0, 1)]
    irregularity = perimeter(mask) ** 2 / (4 * np.pi * mask.sum())
    return min(folds), irregularity, image[mask].std(0).mean()


def test_the_abcd_rule_tells_the_classes_apart_but_not_perfectly():
    labels = np.arange(400) % 2
    measures = np.array([abcd(*draw(i, bool(label), 112)) for i, label in enumerate(labels)])
    for measure in measures.T:
        assert 0.75 < roc_auc_score(labels, measure) < 0.95
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(model, measures, labels, cv=5, method="decision_function")
    assert 0.75 < roc_auc_score(labels, scores) < 0.97


# Hand


def test_a_hand_is_drawn_at_the_size_asked_for_and_again_the_same():
    first, again = (draw_hand(np.random.default_rng(4)) for _ in range(2))
    assert (first.shape, first.dtype) == ((64, 64), np.uint8)
    assert np.array_equal(first, again)
    assert draw_hand(np.random.default_rng(4), size=96).shape == (96, 96)


def test_hands_have_four_fingers_side_by_side_on_black_and_fill_the_crop():
    hands = [draw_hand(np.random.default_rng([9, i])) for i in range(60)]
    ridges = [
        max(len(find_peaks(row.astype(float), prominence=12)[0]) for row in hand[16:36])
        for hand in hands
    ]
    assert np.mean(np.array(ridges) >= 4) > 0.95
    for hand in hands:
        assert hand[:6, :6].max() < 40 and hand[:6, -6:].max() < 40
        assert hand.max() > 130
        assert (hand[9:54, 9:54] > 50).mean() > 0.2


def test_hands_of_both_sides_occur():
    hands = np.array([draw_hand(np.random.default_rng([9, i])) for i in range(60)], float)
    thumb = hands[:, 30:45, :20].sum((1, 2)) - hands[:, 30:45, -20:].sum((1, 2))
    assert 0.2 < np.mean(thumb > 0) < 0.8


# Plan


@st.composite
def plans(draw_from: st.DrawFn):
    number = st.integers(0, 40)
    classes = st.fixed_dictionaries({"benign": number, "malignant": number})
    counts = draw_from(st.dictionaries(st.sampled_from(["2018", "2019", "2020"]), classes))
    shares = draw_from(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)))
    return draw_from(st.integers(0, 2**32)), counts, *shares


def originals_suffice(counts: dict, both: float) -> bool:
    """Say whether every edition finds enough earlier originals to copy."""
    for name in ("benign", "malignant"):
        originals = 0
        for index, edition in enumerate(sorted(counts)):
            copies = round(both * counts[edition][name]) if index else 0
            if copies > originals:
                return False
            originals += counts[edition][name] - copies
    return True


@settings(max_examples=60, deadline=None)
@given(plans())
def test_a_plan_keeps_its_promises(arguments):
    _, counts, exact, near = arguments
    if not originals_suffice(counts, exact + near):
        with pytest.raises(MeddiffError, match=r"phantom edition .*\b\d+ duplicates"):
            plan_editions(*arguments)
        return
    plan = plan_editions(*arguments)
    pd.testing.assert_frame_equal(plan, plan_editions(*arguments))
    for index, edition in enumerate(sorted(counts)):
        rows = plan[plan["edition"] == edition]
        assert rows["isic_id"].is_unique
        for target, name in enumerate(("benign", "malignant")):
            count, of_class = counts[edition][name], rows[rows["target"] == target]
            assert len(of_class) == count
            assert (of_class["kind"] == "exact").sum() == (round(exact * count) if index else 0)
            assert abs((of_class["kind"] == "near").sum() - bool(index) * near * count) <= 1
    originals = plan[plan["kind"] == "original"]
    assert originals["isic_id"].is_unique and originals["seed"].is_unique
    assert (originals["duplicate_of"] == "").all()
    assert (originals.groupby("lesion")["patient_id"].nunique() == 1).all()
    assert (plan.groupby("lesion")["target"].nunique() == 1).all()
    assert plan["isic_id"].str.fullmatch(r"ISIC_\d{7}").all()
    assert plan["patient_id"].str.fullmatch(r"IP_\d{7}").all()


def test_a_copy_descends_from_an_earlier_original(plan):
    copies = plan[plan["kind"] != "original"]
    originals = plan[plan["kind"] == "original"].set_index("isic_id")
    sources = originals.loc[copies["duplicate_of"]]
    assert (sources["edition"].to_numpy() < copies["edition"].to_numpy()).all()
    assert (sources[COPY_CAUSE].to_numpy() == copies[COPY_CAUSE].to_numpy()).all()
    assert ((copies["edit_seed"] > 0) == (copies["kind"] == "near")).all()


def test_ids_and_patients_alone_do_not_give_the_copies_away(plan):
    original_patient = plan[plan["kind"] == "original"].set_index("isic_id")["patient_id"]
    copies = plan[plan["kind"] != "original"].assign(
        same_id=lambda rows: rows["isic_id"] == rows["duplicate_of"],
        same_patient=lambda rows: (
            rows["patient_id"].to_numpy() == original_patient[rows["duplicate_of"]].to_numpy()
        ),
    )
    exact = copies[copies["kind"] == "exact"]
    for _, rows in exact.groupby("edition"):
        assert abs(2 * rows["same_id"].sum() - len(rows)) <= 1
        assert abs(2 * rows["same_patient"].sum() - len(rows)) <= 2
    assert len(exact.groupby(["same_id", "same_patient"])) == 4
    assert not copies.loc[copies["kind"] == "near", ["same_id", "same_patient"]].any(axis=None)


def test_some_patients_have_several_lesions_and_some_lesions_several_images():
    plan = plan_editions(0, {"2018": {"benign": 300, "malignant": 100}}, 0.2, 0.2)
    assert (plan["kind"] == "original").all(), "a first edition has nothing to copy"
    assert 0.1 < (plan.groupby("patient_id")["lesion"].nunique() > 1).mean() < 0.6
    assert 0.1 < (plan.groupby("lesion").size() > 1).mean() < 0.6
    assert (plan.groupby("patient_id")["skin_seed"].nunique() == 1).all()
    assert (plan.groupby("patient_id")["target"].nunique() == 2).sum() > 10


def test_a_later_edition_does_not_change_an_earlier_one(plan):
    earlier = {edition: COUNTS[edition] for edition in ("2018", "2019")}
    alone = plan_editions(5, earlier, exact_duplicates=0.34, near_duplicates=0.25)
    pd.testing.assert_frame_equal(alone, plan[plan["edition"] != "2020"])


def test_another_seed_gives_another_plan(plan):
    other = plan_editions(6, COUNTS, exact_duplicates=0.34, near_duplicates=0.25)
    assert not set(other["seed"]) & set(plan["seed"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, COUNTS, 0.6, 0.5), "exact_duplicates"),
        ((0, {"2018": {"benign": 1}, "2019": {"benign": 90}}, 0.1, 0), r"2019.*\b9 .*benign"),
    ],
)
def test_a_senseless_plan_is_refused(arguments, message):
    with pytest.raises(MeddiffError, match=message):
        plan_editions(*arguments)


# Archives


def test_an_edition_is_laid_out_as_kaggle_delivers_it(plan, archives):
    rows = plan[plan["edition"] == "2019"]
    with zipfile.ZipFile(archives["2019"]) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        text = archive.read("train-metadata.csv").decode()
        members = archive.infolist()
    table = pd.read_csv(io.StringIO(text))
    assert text.startswith(",isic_id,patient_id,target\n0,")
    assert table.columns.tolist() == ["Unnamed: 0", "isic_id", "patient_id", "target"]
    pd.testing.assert_frame_equal(
        table.set_index("isic_id")[["patient_id", "target"]],
        rows.set_index("isic_id")[["patient_id", "target"]],
    )
    images = [f"train-image/image/{name}.jpg" for name in rows["isic_id"]]
    assert names == [*sorted(images), "train-metadata.csv"]
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert all(decode(data).shape == (112, 112, 3) for data in images_of(archives["2019"]).values())


def test_an_edition_shows_the_lesions_of_its_plan(plan, archives):
    images = images_of(archives["2018"])
    for row in plan[plan["edition"] == "2018"].itertuples():
        seeds = {"skin": row.skin_seed, "lesion": row.lesion_seed, "view": row.seed}
        skin, lesion, view = (stream(seed, f"phantom {what}") for what, seed in seeds.items())
        planned = sample_lesion(lesion, row.target == 1, sample_skin(skin))
        expected = draw_lesion(planned, sample_view(view), 112)[0]
        assert peak_signal_noise_ratio(expected, decode(images[row.isic_id])) > 30


def test_exact_copies_hold_the_same_bytes_and_near_copies_almost_the_same_pixels(plan, archives):
    images = {edition: images_of(path) for edition, path in archives.items()}
    originals = plan[plan["kind"] == "original"].set_index("isic_id")["edition"]
    copies = plan[plan["kind"] != "original"]
    ratios = []
    for row in copies.itertuples():
        source = images[originals[row.duplicate_of]][row.duplicate_of]
        copy = images[row.edition][row.isic_id]
        assert (copy == source) == (row.kind == "exact")
        if row.kind == "near":
            ratios.append(peak_signal_noise_ratio(decode(source), decode(copy)))
    assert (copies["kind"] == "exact").sum() >= 15 and len(ratios) >= 12
    assert min(ratios) > 24 and np.ptp(ratios) > 3


def test_a_near_copy_is_closer_to_its_source_than_any_two_originals_are(plan, archives):
    """Even two photographs of one lesion differ by more than a copy does."""
    images = {edition: images_of(path) for edition, path in archives.items()}
    blurred = np.stack(
        [
            Image.open(io.BytesIO(images[row.edition][row.isic_id])).reduce(7)
            for row in plan.itertuples()
        ]
    ).reshape(len(plan), -1)
    distance = np.sqrt(((blurred[:, None] - blurred[None].astype(float)) ** 2).mean(-1))
    original, near = (np.flatnonzero(plan["kind"] == kind) for kind in ("original", "near"))
    nearest = original[distance[np.ix_(near, original)].argmin(1)]
    assert (plan["isic_id"].iloc[nearest].to_numpy() == plan["duplicate_of"].iloc[near]).all()
    between = distance[np.ix_(original, original)][np.triu_indices(len(original), 1)]
    assert distance[near, nearest].max() < between.min()


def kaggle(folder: Path, workers: int) -> list[Path]:
    plan = plan_editions(3, {"2018": {"benign": 20, "malignant": 15}}, 0, 0)
    write_kaggle_edition(folder / "k.zip", plan.sample(frac=1), size=48, workers=workers)
    return [folder / "k.zip"]


def isic2016(folder: Path, workers: int) -> list[Path]:
    paths = [folder / f"{name}.zip" for name in ("a", "b", "c", "d")]
    write_isic2016(*paths, seed=1, n_train=20, n_test=15, size_range=(40, 60), workers=workers)
    return paths


@pytest.mark.parametrize("write", [kaggle, isic2016])
def test_archives_do_not_depend_on_the_workers(tmp_path: Path, write: Callable):
    alone, together = (write(tmp_path / str(workers), workers) for workers in (1, 2))
    for one, two in zip(alone, together, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_a_script_without_a_guard_gets_a_clear_error_and_no_archive(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from meddiff.data.phantom.archives import write_kaggle_edition\n"
        "from meddiff.data.phantom.plan import plan_editions\n"
        "plan = plan_editions(0, {'2018': {'benign': 4}}, 0, 0)\n"
        f"write_kaggle_edition({str(tmp_path / 'k.zip')!r}, plan, size=32, workers=2)\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert re.search(r"MeddiffError: .*__main__.*workers=1", run.stderr)
    assert not list(tmp_path.glob("*.zip"))


def test_no_worker_outlives_a_killed_process(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from meddiff.data.phantom.archives import write_kaggle_edition\n"
        "from meddiff.data.phantom.plan import plan_editions\n"
        'if __name__ == "__main__":\n'
        "    plan = plan_editions(0, {'2018': {'benign': 5000}}, 0, 0)\n"
        f"    write_kaggle_edition({str(tmp_path / 'k.zip')!r}, plan, size=64, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, script])
    started = psutil.Process(process.pid)
    limit = time.monotonic() + 60
    while len(workers := started.children()) < 2:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    time.sleep(2)  # until they have imported what they need
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_the_segmentation_archives_are_laid_out_as_the_challenge_delivers_them(tmp_path: Path):
    paths = [tmp_path / f"{name}.zip" for name in ("a", "b", "c", "d")]
    write_isic2016(*paths, seed=1, n_train=12, n_test=4)
    archives = [zipfile.ZipFile(path) for path in paths]
    folder = "ISBI2016_ISIC_Part1"
    for part, numbers, (images, masks) in (
        ("Training", range(12), archives[:2]),
        ("Test", range(12, 16), archives[2:]),
    ):
        names = [f"ISIC_{5_000_000 + number:07d}" for number in numbers]
        assert images.namelist() == [f"{folder}_{part}_Data/{name}.jpg" for name in names]
        assert masks.namelist() == [
            f"{folder}_{part}_GroundTruth/{name}_Segmentation.png" for name in names
        ]
        overlaps = []
        for image_name, mask_name in zip(images.namelist(), masks.namelist(), strict=True):
            image, mask = decode(images.read(image_name)), decode(masks.read(mask_name))
            assert mask.shape == image.shape[:2] and mask.dtype == np.uint8
            assert set(np.unique(mask)) == {0, 255}
            assert 150 <= mask.shape[1] <= 260
            assert mask.shape[1] / mask.shape[0] == pytest.approx(4 / 3, abs=0.01)
            red_free = image[..., 1:].mean(-1)
            overlaps.append(iou(red_free < threshold_otsu(red_free), mask > 0))
        assert np.median(overlaps) > 0.8


def test_a_segmented_image_depends_on_its_number_alone(tmp_path: Path):
    parts = [[tmp_path / f"{n}{name}.zip" for name in ("a", "b", "c", "d")] for n in (2, 3)]
    for n_train, paths in zip((2, 3), parts, strict=True):
        write_isic2016(*paths, seed=8, n_train=n_train, n_test=5 - n_train, size_range=(40, 60))
    assert images_of(parts[0][2])["ISIC_5000002"] == images_of(parts[1][0])["ISIC_5000002"]


def test_the_hands_are_laid_out_as_mednist_and_only_grow_with_n(tmp_path: Path):
    few, many, again = (tmp_path / f"{name}.tar.gz" for name in ("few", "many", "again"))
    write_mednist(few, seed=2, n=3)
    write_mednist(many, seed=2, n=6)
    write_mednist(again, seed=2, n=6)
    assert many.read_bytes() == again.read_bytes()
    assert many.read_bytes()[4:8] == bytes(4), "the gzip header holds a time"
    with tarfile.open(few) as short, tarfile.open(many) as long:
        assert long.getnames() == [f"MedNIST/Hand/{number:06d}.jpeg" for number in range(6)]
        assert {(member.mtime, member.mode) for member in long} == {(0, 0o644)}
        for name in short.getnames():
            data = long.extractfile(name).read()
            assert short.extractfile(name).read() == data
            assert decode(data).shape == (64, 64)


def test_one_line_is_logged(caplog, tmp_path: Path):
    with caplog.at_level("INFO", logger="meddiff"):
        write_mednist(tmp_path / "m.tar.gz", seed=0, n=2)
    [line] = [r.getMessage() for r in caplog.records if "phantom" in r.name]
    assert "2 images" in line and "images/s" in line
