"""Duplicates are detected whatever was done to them, with their reason, and nothing else is."""

import io
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from meddiff.core.errors import MeddiffError
from meddiff.data.duplicates import candidates
from meddiff.data.duplicates import search as duplicates
from meddiff.data.duplicates.candidates import near_pairs
from meddiff.data.duplicates.registration import Likeness, compare, prepare
from meddiff.data.duplicates.search import IndexDuplicates, search_index
from meddiff.data.index import build_index
from meddiff.data.phantom.dermoscopy import draw_lesion, sample_lesion, sample_view
from meddiff.data.sources.tables import COLUMNS

Edit = Callable[[Image.Image], Image.Image]


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def index_of(path: Path, files: dict[str, bytes], **columns: object) -> pd.DataFrame:
    """Zip files and index them; `columns` override the defaults."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    ids = [Path(name).stem for name in files]
    defaults = dict.fromkeys(COLUMNS, pd.NA) | {
        "id": ids,
        "edition": "1",
        "archive": str(path),
        "member": list(files),
        "label": "benign",
    }
    return build_index(pd.DataFrame(defaults | columns).astype("string"), workers=2)


def draw(lesion: int, view: int = 0, size: int = 128) -> Image.Image:
    """Draw a phantom lesion, photographed in one of many views."""
    drawn = sample_lesion(np.random.default_rng(lesion), malignant=bool(lesion % 2))
    pose = sample_view(np.random.default_rng([lesion, view]))
    return Image.fromarray(draw_lesion(drawn, pose, size)[0])


def likeness(first: Image.Image, second: Image.Image) -> Likeness:
    return compare(prepare(np.asarray(first)), prepare(np.asarray(second)))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encode(image, "JPEG", quality=quality))).convert("RGB")


def rescale(image: Image.Image, factor: float) -> Image.Image:
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def crop(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Cut shares of the width and height off the sides, then restore the size."""
    w, h = image.size
    box = left * w, top * h, (1 - right) * w, (1 - bottom) * h
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


def brighten(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def stretch(image: Image.Image, axes: tuple[int, ...] = (0, 1, 2)) -> Image.Image:
    """Stretch the grey levels to 0..255, as the study did before it wrote JPEGs."""
    pixels = np.asarray(image, float)
    low, high = pixels.min(axes), pixels.max(axes)
    return Image.fromarray((255 * (pixels - low) / (high - low)).astype(np.uint8))


def turn(image: Image.Image, degrees: float) -> Image.Image:
    """Turn an image and cut the empty corners off."""
    return crop(image.rotate(degrees, Image.Resampling.BICUBIC), *[0.05] * 4)


def put_in_frame(image: Image.Image) -> Image.Image:
    """Show an image through a dermoscope's round black frame."""
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse([0.1 * image.width, 0, 0.9 * image.width, image.height], fill=255)
    return Image.composite(image, Image.new("RGB", image.size), mask)


EDITS: dict[str, tuple[Edit, float]] = {
    "quality 50": (lambda image: jpeg(image, 50), 1.0),
    "half as large, quality 75": (lambda image: jpeg(rescale(image, 0.5), 75), 1.0),
    "half as large again, of another aspect": (lambda image: image.resize((336, 250)), 1.0),
    "3 % cropped in all": (lambda image: crop(image, *[0.015] * 4), 1.0),
    "3 % cropped at the left": (lambda image: crop(image, 0.03, 0, 0, 0), 1.0),
    "3 % cropped at the bottom": (lambda image: crop(image, 0, 0, 0, 0.03), 1.0),
    "3 % cropped at two sides": (lambda image: crop(image, 0, 0.03, 0.03, 0), 0.97),
    "brighter": (lambda image: brighten(image, 1.05), 1.0),
    "less contrast": (lambda image: contrast(image, 0.95), 1.0),
    "stretched": (lambda image: jpeg(stretch(image), 75), 1.0),
    "stretched by channel": (lambda image: jpeg(stretch(image, (0, 1)), 75), 0.97),
    "all at once": (
        lambda image: jpeg(brighten(rescale(crop(image, 0.03, 0, 0, 0.02), 0.6), 1.05), 60),
        0.97,
    ),
}


@pytest.fixture(scope="module")
def real(real_images: Path) -> dict[str, Image.Image]:
    """The distinct real images, cropped to squares of 224 px as Kaggle holds them."""
    images = {}
    for path in sorted(real_images.glob("images/*.jpg")):
        image = Image.open(path)
        image.draft("RGB", (448, 448))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = left, top, left + side, top + side
        images[path.stem] = image.resize((224, 224), Image.Resampling.BILINEAR, box)
    del images["ISIC_0000280"]
    return images


@pytest.fixture(scope="module")
def real_index(
    real: dict[str, Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    files = {f"{name}.bmp": encode(image, "BMP") for name, image in real.items()}
    return index_of(tmp_path_factory.mktemp("real") / "x.zip", files)


@settings(deadline=None)
@given(
    st.integers(0, 60),
    st.integers(1, 9),
    st.integers(1, 3),
    st.floats(0, 3),
    st.integers(0, 2**32 - 1),
)
def test_near_pairs_are_those_of_brute_force(
    count: int, box: int, dimension: int, limit: float, seed: int
) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (count, dimension)) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "BOX", box)
        near = [tuple(sorted(pair)) for pairs in near_pairs(points, limit) for pair in pairs]
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    assert len(near) == len(set(near))
    assert set(near) == set(zip(*np.nonzero(np.triu(apart <= limit, 1)), strict=True))


class TestRealImages:
    def test_hold_one_pair(self, real_images: Path) -> None:
        names = sorted(path.name for path in real_images.glob("images/*.jpg"))
        records = dict.fromkeys(COLUMNS, pd.NA) | {
            "id": [Path(name).stem for name in names],
            "edition": "1",
            "archive": str(real_images / "images"),
            "member": names,
            "label": "benign",
        }
        index = build_index(pd.DataFrame(records).astype("string"), workers=2)
        result = search_index(index, workers=2)
        assert result.links[["first", "second", "kind"]].to_numpy().tolist() == [
            ["ISIC_0000279", "ISIC_0000280", "bytes"]
        ]
        assert result.images["group"].nunique() == len(index) - 1

    @pytest.mark.parametrize("edit", EDITS)
    def test_edited_copies_are_found_and_nothing_else(
        self,
        real: dict[str, Image.Image],
        real_index: pd.DataFrame,
        tmp_path: Path,
        edit: str,
    ) -> None:
        """A share needs many images; where all are to be detected, each edit is made of others."""
        change, recall = EDITS[edit]
        step = len(EDITS) if recall == 1 else 4
        chosen = list(real)[list(EDITS).index(edit) % step :: step]
        files = {f"{name}_copy.bmp": encode(change(real[name]), "BMP") for name in chosen}
        copies = index_of(tmp_path / "x.zip", files, edition="2")
        index = pd.concat([copies, real_index], ignore_index=True)
        links = search_index(index, workers=2).links
        assert (links["second"] == links["first"] + "_copy").all()
        assert (links["kind"] == "near").all()
        assert len(links) >= recall * len(chosen)

    def test_are_distinguished_even_if_all_are_compared(self, real: dict[str, Image.Image]) -> None:
        """Neither other lesions, nor other lesions behind one frame, come near the limits."""
        images = list(real.values())[::3]
        pairs = np.random.default_rng(0).choice(len(images), (250, 2))
        for frame in (lambda image: image, put_in_frame):
            views = [prepare(np.asarray(frame(image))) for image in images]
            result = [compare(views[i], views[j]) for i, j in pairs if i != j]
            assert not any(each.is_same for each in result)
            assert max(min(each.correlation, 1 - each.residual) for each in result) < 0.35

    def test_copies_in_a_frame_are_found(self, real: dict[str, Image.Image]) -> None:
        for image in list(real.values())[::20]:
            framed = put_in_frame(image)
            assert likeness(framed, jpeg(crop(framed, 0.02, 0, 0, 0.02), 60)).is_same

    def test_turned_ones_are_other_photographs(self, real: dict[str, Image.Image]) -> None:
        for image in list(real.values())[::10]:
            result = likeness(turn(image, 0), turn(image, 1.5))
            assert result.rotation == pytest.approx(-1.5, abs=0.3) and not result.is_same


class TestDrawnLesions:
    @settings(deadline=None, max_examples=60)
    @given(
        st.integers(0, 10_000),
        st.integers(60, 95),
        st.floats(0.5, 1.5),
        st.lists(st.floats(0, 0.03), min_size=4, max_size=4),
        st.floats(0.95, 1.05),
        st.floats(0.95, 1.05),
    )
    def test_are_the_same_after_any_edits(
        self,
        seed: int,
        quality: int,
        factor: float,
        sides: list[float],
        brightness: float,
        more_contrast: float,
    ) -> None:
        image = draw(seed, size=224)
        edited = contrast(brighten(rescale(crop(image, *sides), factor), brightness), more_contrast)
        result = likeness(image, jpeg(edited, quality))
        assert result.is_same and result.correlation > 0.5

    def test_photographed_again_are_not_duplicates(self) -> None:
        result = [likeness(draw(seed, 0), draw(seed, 1)) for seed in range(60)]
        assert not any(each.is_same for each in result)

    def test_are_distinguished_and_their_copies_found(self, tmp_path: Path) -> None:
        images = {f"{seed:03d}": draw(seed) for seed in range(150)}
        images |= {f"{seed:03d}_again": draw(seed, 1) for seed in range(50)}
        images |= {
            f"{seed:03d}_copy": jpeg(crop(draw(seed), *[0.01] * 4), 70) for seed in range(0, 150, 5)
        }
        files = {f"{name}.bmp": encode(image, "BMP") for name, image in images.items()}
        links = search_index(index_of(tmp_path / "x.zip", files), workers=2).links
        assert dict(zip(links["second"], links["first"], strict=True)) == {
            f"{seed:03d}_copy": f"{seed:03d}" for seed in range(0, 150, 5)
        }


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    one, two, three = draw(1), draw(2), draw(3)
    files = {
        "a.png": encode(one),
        "b.png": encode(one),
        "c.bmp": encode(one, "BMP"),
        "d.jpg": encode(one, "JPEG", quality=70),
        "e.png": encode(two),
        "f.png": encode(three),
        "g.png": encode(draw(4)),
        "h.png": encode(draw(5)),
        "i.jpg": encode(one, "JPEG", quality=60),
    }
    images = ["A", "B", "C", "D", "E", "E", "G", "H", "C"]
    return index_of(tmp_path_factory.mktemp("reasons") / "x.zip", files, image=images)


class TestReasons:
    @staticmethod
    def texts(result: IndexDuplicates) -> list[str]:
        return [" ".join(row) for row in result.links[["first", "second", "kind"]].to_numpy()]

    def test_the_strongest_is_named(self, reasons: pd.DataFrame) -> None:
        official = pd.DataFrame({"first": ["H"], "second": ["G"]}, dtype="string")
        result = search_index(reasons, official=official)
        assert self.texts(result) == [
            "a b bytes",
            "a c pixels",
            "a d near",
            "c i image",
            "d i near",
            "e f image",
            "g h official",
        ]
        near = result.links["kind"] == "near"
        assert result.links.loc[near, ["residual", "correlation"]].notna().all(axis=None)
        assert result.links.loc[~near, ["residual", "correlation"]].isna().all(axis=None)
        bits = reasons.set_index("id")["phash"].map(lambda digits: int(digits, 16))
        for first, second, hamming in result.links[["first", "second", "hamming"]].to_numpy():
            assert hamming == (bits[first] ^ bits[second]).bit_count()

    def test_without_a_list_or_ids_the_pixels_tell(self, reasons: pd.DataFrame) -> None:
        result = search_index(reasons.drop(columns="image"))
        assert self.texts(result) == [
            "a b bytes",
            "a c pixels",
            "a d near",
            "a i near",
            "d i near",
        ]

    def test_near_ones_are_left_out_if_asked(self, reasons: pd.DataFrame) -> None:
        outcome = search_index(reasons, near=False)
        assert self.texts(outcome) == ["a b bytes", "a c pixels", "c i image", "e f image"]
        assert outcome.links[["residual", "correlation"]].isna().all(axis=None)

    def test_official_duplicates_that_are_not_here_are_counted(
        self, reasons: pd.DataFrame, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        pairs = [("G", "H"), ("G", "X"), ("Y", "X"), (pd.NA, "G"), ("G", "G"), ("H", "G")]
        official = pd.DataFrame(pairs, columns=["first", "second"]).astype("string")
        result = search_index(reasons, official=official)
        assert self.texts(result)[-1] == "g h official"
        assert "3 of 6 official" in caplog.text
        assert (result.links["kind"] == "official").sum() == 1

    def test_an_official_list_may_be_empty(self, reasons: pd.DataFrame) -> None:
        empty = pd.DataFrame({"first": [], "second": []}, dtype="string")
        pd.testing.assert_frame_equal(
            search_index(reasons, official=empty).links, search_index(reasons).links
        )

    def test_equal_images_have_a_link_each(self, tmp_path: Path) -> None:
        """Not one a pair: n images have n - 1 links, by the strongest reasons."""
        files = {f"{n:02d}.png": encode(draw(1), compress_level=n % 3) for n in range(40)}
        links = search_index(index_of(tmp_path / "x.zip", files)).links
        assert set(links["second"]) == {f"{n:02d}" for n in range(1, 40)}
        assert links["kind"].value_counts().to_dict() == {"bytes": 37, "pixels": 2}


class TestFind:
    @staticmethod
    def index(tmp_path: Path, images: Iterable[Image.Image], **columns: object) -> pd.DataFrame:
        files = {
            f"{name}.png": encode(image) for name, image in zip("abcdefgh", images, strict=False)
        }
        return index_of(tmp_path / "x.zip", files, **columns)

    def test_groups_join_over_patients_lesions_and_duplicates(self, tmp_path: Path) -> None:
        drawn = [draw(seed) for seed in (0, 1, 2, 2, 3, 4, 5)]
        index = self.index(
            tmp_path,
            drawn,
            patient=["P", "P", pd.NA, pd.NA, pd.NA, pd.NA, "Q"],
            lesion=[pd.NA, "L", "L", pd.NA, pd.NA, pd.NA, pd.NA],
        )
        result = search_index(index).images
        assert result["group"].tolist() == [0, 0, 0, 0, 1, 2, 3]
        assert result["duplicate_of"].tolist() == [pd.NA, pd.NA, pd.NA, "c", *[pd.NA] * 3]

    def test_the_first_by_edition_and_id_is_kept(self, tmp_path: Path) -> None:
        drawn = [draw(0), draw(1), draw(0)]
        index = self.index(tmp_path, drawn, edition=["2019", "2018", "2018"])
        assert search_index(index).images["duplicate_of"].tolist() == ["c", pd.NA, pd.NA]

    def test_neither_order_nor_workers_nor_memory_change_anything(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {
            f"{seed}_{quality}.jpg": encode(draw(seed), "JPEG", quality=quality)
            for seed in range(5)
            for quality in (50, 75, 90)
        }
        index = index_of(tmp_path / "x.zip", files)
        result = search_index(index)
        assert len(result.links) == 15
        monkeypatch.setattr(duplicates, "MAX_VIEWS", 4)
        shuffled = index.sample(frac=1, random_state=1)
        again = search_index(shuffled, workers=3)
        pd.testing.assert_frame_equal(again.links, result.links)
        pd.testing.assert_frame_equal(again.images.loc[index.index], result.images)

    def test_progress_adds_up_to_all_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(duplicates, "MAX_VIEWS", 2)
        drawn = [draw(0), draw(1), jpeg(draw(1), 80), draw(2), jpeg(draw(2), 80), draw(3)]
        counts: list[int] = []
        search_index(self.index(tmp_path, drawn), progress=counts.append)
        assert sum(counts) == len(drawn) and min(counts) >= 0 and len(counts) > 1

    def test_images_without_detail_are_only_equal(self, tmp_path: Path) -> None:
        """A gradient looks like any other: it proves nothing."""
        ramp = np.broadcast_to(np.linspace(80, 200, 96)[:, None, None], (96, 96, 3))
        smooth = Image.fromarray(ramp.astype(np.uint8))
        flat = Image.new("RGB", (96, 96), (220, 170, 150))
        index = self.index(tmp_path, [flat, flat, brighten(flat, 0.9), smooth, jpeg(smooth, 60)])
        links = search_index(index).links
        assert links[["first", "second", "kind"]].to_numpy().tolist() == [["a", "b", "bytes"]]

    def test_an_image_that_changed_or_vanished_is_named(self, tmp_path: Path) -> None:
        index = self.index(tmp_path, [draw(0), jpeg(draw(0), 80)])
        path = tmp_path / "x.zip"
        shutil.move(path, tmp_path / "y.zip")
        with pytest.raises(MeddiffError, match=r"x\.zip"):
            search_index(index)
        self.index(tmp_path, [draw(0), draw(1)])
        with pytest.raises(MeddiffError, match=r"b\.png in .*x\.zip changed"):
            search_index(index)
        self.index(tmp_path, [draw(0)])
        with pytest.raises(MeddiffError, match=r"x\.zip .*b\.png"):
            search_index(index)

    def test_archives_are_read_again_only_to_confirm(self, tmp_path: Path) -> None:
        index = self.index(tmp_path, [draw(0), draw(0), draw(1)])
        (tmp_path / "x.zip").unlink()
        assert search_index(index).links["kind"].tolist() == ["bytes"]

    def test_copies_of_several_classes_are_named_in_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        labels = ["benign", "malignant", "benign"]
        search_index(self.index(tmp_path, [draw(0), draw(0), draw(1)], label=labels))
        warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert warnings[0].startswith("1 photographs") and "audit/overlap.csv" in warnings[0]
