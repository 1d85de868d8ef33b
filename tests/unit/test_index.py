"""The index describes decoded pixels; duplicates are found, and different lesions stay apart."""

import hashlib
import io
import logging
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from meddiff.data import duplicates
from meddiff.data.duplicates import near_pairs
from meddiff.data.index import (
    build_index,
    perceptual_hash,
    read_table,
    write_table,
)
from meddiff.data.sources import COLUMNS
from meddiff.errors import MeddiffError

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "isic_uda1" / "images"


def find_duplicates(index: pd.DataFrame) -> pd.DataFrame:
    return duplicates.find_duplicates(index, workers=2).images


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def records_of(path: Path, files: dict[str, bytes], **columns: object) -> pd.DataFrame:
    """Zip files and return their records; `columns` override the defaults."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    names = list(files)
    defaults = dict.fromkeys(COLUMNS, pd.NA) | {
        "id": [Path(name).stem for name in names],
        "edition": "1",
        "archive": str(path),
        "member": names,
        "label": "benign",
    }
    return pd.DataFrame(defaults | columns).astype("string")


def draw_lesion(seed: int, size: int = 128) -> Image.Image:
    """Draw a blob of an irregular outline on skin, with a few spots and hairs."""
    rng = np.random.default_rng(seed)
    skin = rng.integers((180, 120, 100), (250, 190, 170))
    image = Image.new("RGB", (size, size), tuple(skin))
    pen = ImageDraw.Draw(image)
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    radius = size * (0.25 + 0.06 * np.cos(np.outer(angle, [2, 3, 4]) + rng.uniform(0, 6, 3)).sum(1))
    centre = size * rng.uniform(0.4, 0.6, 2)
    outline = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    pen.polygon([tuple(point) for point in outline], fill=tuple(skin // 2))
    for _ in range(6):
        x, y, r = size * rng.uniform((0.2, 0.2, 0.02), (0.8, 0.8, 0.12))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(skin // rng.integers(2, 5)))
    return image.filter(ImageFilter.GaussianBlur(1.5))


def reencode(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encode(image, "JPEG", quality=quality))).convert("RGB")


def rescale(image: Image.Image) -> Image.Image:
    smaller = image.resize((200, 200), Image.Resampling.BILINEAR)
    return smaller.resize((224, 224), Image.Resampling.BICUBIC)


def crop(image: Image.Image, left: float, right: float) -> Image.Image:
    """Cut shares of the width and height off two sides each, then restore the size."""
    w, h = image.size
    box = round(left * w), round(left * h), round((1 - right) * w), round((1 - right) * h)
    return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)


PLANTED: dict[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "quality 50": (lambda image: reencode(image, 50), 1.0),
    "quality 90": (lambda image: reencode(image, 90), 1.0),
    "rescaled": (rescale, 1.0),
    "3 % cropped": (lambda image: crop(image, 0.015, 0.015), 0.97),
    "2 % cropped off-centre": (lambda image: crop(image, 0.015, 0.005), 0.97),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.03), 1.0),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.97), 1.0),
    "all at once": (
        lambda image: reencode(
            rescale(ImageEnhance.Brightness(crop(image, 0.015, 0.015)).enhance(1.03)), 60
        ),
        0.97,
    ),
}


@pytest.fixture(scope="module")
def real() -> dict[str, Image.Image]:
    """The real images as the study's Kaggle sets hold them: centre-cropped, 224 px."""
    if not REAL.is_dir():
        pytest.skip("the real images of ../shared/real/isic_uda1 are not here")
    images = {}
    for path in sorted(REAL.glob("*.jpg")):
        image = Image.open(path)
        image.draft("RGB", (448, 448))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = left, top, left + side, top + side
        images[path.stem] = image.resize((224, 224), Image.Resampling.BILINEAR, box)
    return images


@pytest.fixture(scope="module")
def real_index(
    real: dict[str, Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    files = {f"{name}.bmp": encode(image, "BMP") for name, image in real.items()}
    return build_index(records_of(tmp_path_factory.mktemp("real") / "x.zip", files), workers=2)


def test_the_index_describes_files_and_pixels(tmp_path: Path) -> None:
    image = draw_lesion(1).resize((90, 60))
    files = {"a.png": encode(image), "b.bmp": encode(image, "BMP"), "c.png": encode(draw_lesion(2))}
    counted: list[int] = []
    index = build_index(records_of(tmp_path / "x.zip", files), progress=counted.append)
    assert index["id"].tolist() == ["a", "b", "c"]
    assert (index.loc[0, "width"], index.loc[0, "height"]) == (90, 60)
    digests = [hashlib.sha256(data).hexdigest() for data in files.values()]
    assert index["bytes_sha256"].tolist() == digests
    assert index.loc[0, "pixels_sha256"] == index.loc[1, "pixels_sha256"]
    assert index["pixels_sha256"].nunique() == 2
    assert index["encoding"].tolist() == ["PNG RGB", "BMP RGB", "PNG RGB"]
    assert sum(counted) == 3


def test_encodings_tell_quality_and_subsampling(tmp_path: Path) -> None:
    options = [{"quality": 90}, {"quality": 70}, {"quality": 90, "subsampling": 0}]
    image = draw_lesion(1)
    files = {f"{n}.jpg": encode(image, "JPEG", **some) for n, some in enumerate(options)}
    files["3.jpg"] = encode(draw_lesion(2), "JPEG", quality=90)
    found = build_index(records_of(tmp_path / "x.zip", files))["encoding"]
    assert found[:3].nunique() == 3 and found[0] == found[3]
    assert found[0].startswith("JPEG 4:2:0 ") and found[2].startswith("JPEG 4:4:4 ")


def test_pixel_digests_tell_shapes_apart(tmp_path: Path) -> None:
    """The same bytes in another shape are another image."""
    pixels = np.arange(48, dtype=np.uint8)
    files = {
        f"{h}.png": encode(Image.fromarray(pixels.reshape(h, -1))) for h in (2, 4, 6, 8, 12, 24)
    }
    index = build_index(records_of(tmp_path / "x.zip", files), grey=True)
    assert index["pixels_sha256"].nunique() == len(files)


def test_neither_threads_nor_the_archive_s_order_change_the_index(tmp_path: Path) -> None:
    files = {f"{seed}.png": encode(draw_lesion(seed, 64)) for seed in range(20)}
    records = records_of(tmp_path / "x.zip", files)
    one = build_index(records)
    pd.testing.assert_frame_equal(build_index(records, workers=4), one)
    shuffled = records.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(build_index(shuffled).sort_index(), one)


def test_unreadable_images_are_named_together(tmp_path: Path) -> None:
    good = encode(draw_lesion(0))
    files = {"good.png": good} | {f"bad{n}.png": good[: 100 + n] for n in range(7)}
    with pytest.raises(MeddiffError, match="7 files are not readable images") as error:
        build_index(records_of(tmp_path / "x.zip", files), workers=2)
    assert "bad0.png in" in str(error.value) and "bad4.png" in str(error.value)
    assert "bad5.png" not in str(error.value) and "and 2 more" in str(error.value)
    with pytest.raises(MeddiffError, match=r"bad0\.png in .*x\.zip is not a readable image"):
        build_index(records_of(tmp_path / "x.zip", dict(list(files.items())[:2])))


def test_an_image_that_vanished_is_named(tmp_path: Path) -> None:
    records = records_of(tmp_path / "x.zip", {"a.png": encode(draw_lesion(0))})
    records.loc[0, "member"] = "b.png"
    with pytest.raises(MeddiffError, match=r"x\.zip holds no file b\.png"):
        build_index(records)


def test_masks_are_digested_and_must_fit(tmp_path: Path) -> None:
    image, mask = encode(draw_lesion(0)), encode(Image.new("L", (128, 128)))
    path = tmp_path / "x.zip"
    files = {
        "a.png": image,
        "b.png": image,
        "m.png": mask,
        "n.png": encode(Image.new("L", (128, 64))),
    }
    records = records_of(path, files).iloc[:2]
    records = records.assign(
        mask_archive=pd.Series([pd.NA, str(path)], dtype="string"),
        mask_member=pd.Series([pd.NA, "m.png"], dtype="string"),
    )
    index = build_index(records)
    assert index["mask_sha256"].tolist() == [pd.NA, hashlib.sha256(mask).hexdigest()]
    records.loc[1, "mask_member"] = "n.png"
    with pytest.raises(MeddiffError, match=r"n\.png in .* is 128x64 px but its image is 128x128"):
        build_index(records)


def test_the_hash_is_the_sign_of_the_low_dct_coefficients() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (32, 32))
    n = np.arange(32)
    cosines = np.cos(math.pi * np.outer(np.arange(8), 2 * n + 1) / 64) * math.sqrt(2 / 32)
    cosines[0] /= math.sqrt(2)
    low = cosines @ grey @ cosines.T
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert perceptual_hash(grey) == f"{int(bits, 2):016x}"


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=150), st.integers(0, 40))
def test_near_pairs_are_those_of_brute_force(hashes: list[int], limit: int) -> None:
    found = [
        tuple(pair)
        for start in range(0, len(hashes), 64)
        for pair in near_pairs(np.array(hashes, np.uint64), limit, slice(start, start + 64))
    ]
    assert sorted(found) == [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (hashes[i] ^ hashes[j]).bit_count() <= limit
    ]


class TestDuplicates:
    @staticmethod
    def find(tmp_path: Path, images: dict[str, Image.Image], **columns: object) -> pd.DataFrame:
        files = {f"{name}.bmp": encode(image, "BMP") for name, image in images.items()}
        index = build_index(records_of(tmp_path / "x.zip", files, **columns), workers=2)
        return index[["id"]].join(find_duplicates(index)).set_index("id")

    @pytest.mark.parametrize("change", PLANTED)
    def test_planted_near_duplicates_of_real_images(
        self,
        real: dict[str, Image.Image],
        real_index: pd.DataFrame,
        tmp_path: Path,
        change: str,
    ) -> None:
        """Found again, each with its own original, and nothing else with it."""
        alter, recall = PLANTED[change]
        originals = real_index[real_index["id"] != "ISIC_0000280"]
        files = {f"{name}_copy.bmp": encode(alter(real[name]), "BMP") for name in originals["id"]}
        copies = build_index(records_of(tmp_path / "x.zip", files), workers=2)
        index = pd.concat([originals, copies], ignore_index=True)
        found = find_duplicates(index).set_index(index["id"])["duplicate_of"].dropna()
        assert (found == found.index.str.removesuffix("_copy")).all()
        assert found.index.str.endswith("_copy").all()
        assert len(found) >= recall * len(originals)

    def test_real_images_hold_one_pair(self, real_index: pd.DataFrame) -> None:
        found = find_duplicates(real_index).set_index(real_index["id"])
        assert found["duplicate_of"].dropna().to_dict() == {"ISIC_0000280": "ISIC_0000279"}
        assert found["group"].nunique() == len(real_index) - 1

    def test_drawn_lesions_are_told_apart_and_their_copies_found(self, tmp_path: Path) -> None:
        originals = {f"{seed:03d}": draw_lesion(seed) for seed in range(300)}
        copies = {
            f"{seed:03d}_copy": reencode(crop(draw_lesion(seed), 0.01, 0.01), 70)
            for seed in range(0, 300, 5)
        }
        found = self.find(tmp_path, originals | copies)["duplicate_of"].dropna()
        assert found.to_dict() == {name: name.removesuffix("_copy") for name in copies}

    def test_images_without_detail_are_not_alike(self, tmp_path: Path) -> None:
        images = {
            "skin": Image.new("RGB", (32, 32), (220, 170, 150)),
            "skin2": Image.new("RGB", (32, 32), (221, 170, 150)),
            "blue": Image.new("RGB", (32, 32), (20, 70, 250)),
        }
        found = self.find(tmp_path, images)
        assert found["duplicate_of"].isna().all()

    def test_groups_join_over_patients_lesions_and_pixels(self, tmp_path: Path) -> None:
        images = {name: draw_lesion(seed) for seed, name in enumerate("abcdefg")}
        images["d"] = images["c"]
        found = self.find(
            tmp_path,
            images,
            patient=["P", "P", pd.NA, pd.NA, pd.NA, pd.NA, "Q"],
            lesion=[pd.NA, "L", "L", pd.NA, pd.NA, pd.NA, pd.NA],
        )
        assert found["group"].tolist() == [0, 0, 0, 0, 1, 2, 3]
        assert found["duplicate_of"].dropna().to_dict() == {"d": "c"}

    def test_the_first_by_edition_and_id_is_kept_whatever_the_row_order(
        self, tmp_path: Path
    ) -> None:
        image, other = draw_lesion(0), draw_lesion(1)
        files = {"b.png": encode(image), "c.png": encode(other), "a.png": encode(image)}
        records = records_of(tmp_path / "x.zip", files, edition=["2018", "2018", "2019"])
        index = build_index(records)
        found = find_duplicates(index)
        assert found["duplicate_of"].tolist() == [pd.NA, pd.NA, "b"]
        pd.testing.assert_frame_equal(find_duplicates(index[::-1])[::-1], found)

    def test_mixed_labels_are_counted_in_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        images = {"a": draw_lesion(0), "b": draw_lesion(0), "c": draw_lesion(1)}
        self.find(tmp_path, images, label=["benign", "malignant", "benign"])
        warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "1 groups carry more than one label" in warnings[0] and "one split" in warnings[0]


def test_tables_survive_the_disk(tmp_path: Path) -> None:
    """Hashes and ids that look like numbers stay strings."""
    table = pd.DataFrame(
        {
            "id": ["001", "NA"],
            "patient": [pd.NA, "7"],
            "phash": ["0000000000000000", "1234567890123e10"],
            "width": [224, 600],
            "group": [0, 1],
            "rank": [pd.NA, 3],
            "selected": [True, False],
        }
    )
    types = {"width": "int64", "group": "Int64", "rank": "Int64", "selected": bool}
    table = table.astype(dict.fromkeys(table, "string") | types)
    write_table(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table)
