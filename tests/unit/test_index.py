"""The index describes files and decoded pixels, in the records' order."""

import base64
import hashlib
import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meddiff.core.errors import MeddiffError
from meddiff.core.files import write_csv
from meddiff.data.index import build_index, perceptual_hash, read_index
from meddiff.data.sources.tables import COLUMNS


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


def draw(seed: int, size: tuple[int, int] = (128, 128)) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def test_the_index_describes_files_and_pixels(tmp_path: Path) -> None:
    image = draw(1, (90, 60))
    files = {"a.png": encode(image), "b.bmp": encode(image, "BMP"), "c.png": encode(draw(2))}
    counted: list[int] = []
    index = build_index(records_of(tmp_path / "x.zip", files), progress=counted.append)
    assert index["id"].tolist() == ["a", "b", "c"]
    assert (index.loc[0, "width"], index.loc[0, "height"]) == (90, 60)
    digests = [hashlib.sha256(data).hexdigest() for data in files.values()]
    assert index["bytes_sha256"].tolist() == digests
    assert index.loc[0, "pixels_sha256"] == index.loc[1, "pixels_sha256"]
    assert index["pixels_sha256"].nunique() == 2
    thumbnail = np.frombuffer(base64.b64decode(index.loc[2, "thumbnail"]), np.uint8)
    grey = draw(2).convert("L").resize((16, 16), Image.Resampling.BOX)
    np.testing.assert_allclose(thumbnail, np.asarray(grey).ravel(), atol=2)
    assert index["encoding"].tolist() == ["PNG RGB", "BMP RGB", "PNG RGB"]
    assert sum(counted) == 3


def test_pixel_digests_tell_shapes_apart(tmp_path: Path) -> None:
    """The same bytes in another shape are another image."""
    pixels = np.arange(48, dtype=np.uint8)
    files = {
        f"{h}.png": encode(Image.fromarray(pixels.reshape(h, -1))) for h in (2, 4, 6, 8, 12, 24)
    }
    index = build_index(records_of(tmp_path / "x.zip", files), grey=True)
    assert index["pixels_sha256"].nunique() == len(files)


def test_neither_threads_nor_the_archive_s_order_change_the_index(tmp_path: Path) -> None:
    files = {f"{seed}.png": encode(draw(seed)) for seed in range(20)}
    records = records_of(tmp_path / "x.zip", files)
    one = build_index(records)
    pd.testing.assert_frame_equal(build_index(records, workers=4), one)
    shuffled = records.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(build_index(shuffled).sort_index(), one)


def test_unreadable_images_are_named_together(tmp_path: Path) -> None:
    good = encode(draw(0))
    files = {"good.png": good} | {f"bad{n}.png": good[: 100 + n] for n in range(7)}
    with pytest.raises(MeddiffError, match="7 files") as error:
        build_index(records_of(tmp_path / "x.zip", files), workers=2)
    assert "bad0.png in" in str(error.value) and "bad4.png" in str(error.value)
    assert "bad5.png" not in str(error.value) and "and 2 more" in str(error.value)
    with pytest.raises(MeddiffError, match=r"bad0\.png in .*x\.zip"):
        build_index(records_of(tmp_path / "x.zip", dict(list(files.items())[:2])))


def test_an_image_that_vanished_is_named(tmp_path: Path) -> None:
    records = records_of(tmp_path / "x.zip", {"a.png": encode(draw(0))})
    records.loc[0, "member"] = "b.png"
    with pytest.raises(MeddiffError, match=r"x\.zip .*b\.png"):
        build_index(records)


def test_masks_are_digested_and_must_fit(tmp_path: Path) -> None:
    image, mask = encode(draw(0)), encode(Image.new("L", (128, 128)))
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
    with pytest.raises(MeddiffError, match=r"n\.png in .*128x64 .*128x128"):
        build_index(records)


def test_the_hash_is_the_sign_of_the_low_dct_coefficients() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (32, 32))
    n = np.arange(32)
    cosines = np.cos(math.pi * np.outer(np.arange(8), 2 * n + 1) / 64) * math.sqrt(2 / 32)
    cosines[0] /= math.sqrt(2)
    low = cosines @ grey @ cosines.T
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert perceptual_hash(grey) == f"{int(bits, 2):016x}"


class TestEncoding:
    @staticmethod
    def index(tmp_path: Path, files: dict[str, bytes], **options: bool) -> pd.Series:
        index = build_index(records_of(tmp_path / "x.zip", files), **options)
        return index.set_index("id")["encoding"]

    def test_of_jpegs_tells_sampling_and_quality(self, tmp_path: Path) -> None:
        """Whatever is drawn, one encoder at one quality is one encoding."""
        options = {
            "a": {"quality": 75, "subsampling": 2},
            "b": {"quality": 75, "subsampling": 2, "optimize": True, "comment": "x"},
            "c": {"quality": 75, "subsampling": 1},
            "d": {"quality": 75, "subsampling": 0},
            "e": {"quality": 90, "subsampling": 2},
        }
        files = {
            f"{name}.jpg": encode(draw(seed), "JPEG", **options_)
            for seed, (name, options_) in enumerate(options.items())
        }
        encodings = self.index(tmp_path, files)
        assert encodings.str.fullmatch(r"JPEG 4:\d:\d q[0-9a-f]{6}").all()
        assert encodings["a"] == encodings["b"]
        assert encodings[["a", "c", "d"]].str[:10].tolist() == [
            "JPEG 4:2:0",
            "JPEG 4:2:2",
            "JPEG 4:4:4",
        ]
        assert encodings[["a", "c", "d"]].str[-7:].nunique() == 1
        assert encodings["e"][:10] == encodings["a"][:10] and encodings["e"] != encodings["a"]

    def test_of_grey_cmyk_and_other_formats(self, tmp_path: Path) -> None:
        image = draw(0)
        files = {
            "grey.jpg": encode(image.convert("L"), "JPEG"),
            "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
            "rgb.png": encode(image),
            "palette.png": encode(image.convert("P")),
            "x.bmp": encode(image, "BMP"),
            "x.webp": encode(image, "WEBP"),
        }
        files = {name.replace(".", "_") + Path(name).suffix: data for name, data in files.items()}
        encodings = self.index(tmp_path, files)
        assert encodings["grey_jpg"].startswith("JPEG L q")
        assert encodings["cmyk_jpg"].startswith("JPEG CMYK")
        assert encodings[["rgb_png", "palette_png"]].tolist() == ["PNG RGB", "PNG P"]
        assert encodings[["x_bmp", "x_webp"]].tolist() == ["BMP RGB", "WEBP RGB"]

    def test_is_the_file_s_even_where_pixels_are_decoded_to_grey(self, tmp_path: Path) -> None:
        encodings = self.index(tmp_path, {"a.png": encode(draw(0))}, grey=True)
        assert encodings["a"] == "PNG RGB"


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
    write_csv(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_index(tmp_path / "table.csv"), table)
