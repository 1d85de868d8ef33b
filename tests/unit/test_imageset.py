"""Packed arrays hold every image's row, in the records' order."""

import errno
import hashlib
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytest

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import RECORDS
from meddiff.data.index import build_index, read_index
from meddiff.data.preprocessing.files import Preprocessing, preprocess_files
from meddiff.data.preprocessing.packing import pack_images
from meddiff.data.preprocessing.resizing import preprocess, preprocess_mask
from meddiff.data.sources.tables import COLUMNS
from pictures import jpeg, photograph, png, smooth


def archive_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def index_of(
    path: Path, images: list[np.ndarray], masks: list[np.ndarray] | None = None
) -> pd.DataFrame:
    files = {f"i{n}.png": png(image) for n, image in enumerate(images)}
    files |= {f"m{n}.png": png(mask) for n, mask in enumerate(masks or [])}
    archive_of(path, files)
    columns: dict[str, object] = dict.fromkeys(COLUMNS, pd.NA) | {
        "id": [f"x/{n}" for n in range(len(images))],
        "edition": "x",
        "archive": str(path),
        "member": [f"i{n}.png" for n in range(len(images))],
        "label": ["benign" if n % 2 else "malignant" for n in range(len(images))],
    }
    if masks:
        columns |= {
            "mask_archive": str(path),
            "mask_member": [f"m{n}.png" for n in range(len(masks))],
        }
    return build_index(pd.DataFrame(columns).astype("string"))


def records_of(path: Path, files: dict[str, bytes]) -> pd.DataFrame:
    """Return what an index says of the files, as far as `pack` reads it."""
    digests = [hashlib.sha256(data).hexdigest() for data in files.values()]
    table = pd.DataFrame({"id": list(files), "member": list(files), "bytes_sha256": digests})
    return table.assign(label="benign", edition="x", archive=str(path))


def pack(
    records: pd.DataFrame,
    out_array: Path,
    out_table: Path,
    *,
    masks: bool = False,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> None:
    files = {"out_array": out_array, "out_table": out_table}
    how = Preprocessing(**options)
    pack_images(records, how, **files, masks=masks, workers=workers, progress=progress)


class Packed(NamedTuple):
    images: np.ndarray
    table: pd.DataFrame


def packed_set(out: dict[str, Path]) -> Packed:
    return Packed(np.load(out["out_array"]), read_index(out["out_table"]))


class TestPack:
    @pytest.fixture
    def out(self, tmp_path: Path) -> dict[str, Path]:
        return {"out_array": tmp_path / "set" / "x.npy", "out_table": tmp_path / "set" / "x.csv"}

    def test_rows_are_the_records_in_their_order(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        images = [smooth(50, 60, seed) for seed in range(6)]
        index = index_of(tmp_path / "a.zip", images).assign(group=[3, 3, 1, 0, 2, 5])
        records = index.loc[[4, 0, 5, 2]]
        counted: list[int] = []
        pack(records, crop=None, size=32, progress=counted.append, workers=2, **out)
        packed = packed_set(out)
        assert packed.images.shape == (4, 32, 32, 3) and sum(counted) == 4
        for row, n in enumerate([4, 0, 5, 2]):
            expected = preprocess(images[n], crop=None, size=32)
            np.testing.assert_array_equal(packed.images[row], expected)
        assert list(packed.table) == [
            "id",
            "label",
            "edition",
            "group",
            "source_sha256",
            "decoding",
        ]
        assert set(packed.table["decoding"]) == {"exact"}
        assert packed.table["id"].tolist() == ["x/4", "x/0", "x/5", "x/2"]
        assert packed.table["group"].tolist() == [2, 3, 5, 1]
        assert packed.table["source_sha256"][0] == hashlib.sha256(png(images[4])).hexdigest()

    def test_plain_numpy_reads_the_array(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(9)])
        pack(index, crop=None, size=32, **out)
        array = np.load(out["out_array"])
        assert array.dtype == np.uint8 and array.flags.c_contiguous
        np.testing.assert_array_equal(load_images(out["out_array"]), array)

    @pytest.mark.parametrize("decoding", ["exact", "fast"])
    def test_threads_do_not_change_the_result(
        self, tmp_path: Path, out: dict[str, Path], decoding: Literal["exact", "fast"]
    ) -> None:
        """Small files go to the threads in groups, large ones one by one."""
        files = {f"{n:03}.jpg": jpeg(photograph(24, 20, seed=n)) for n in range(600)}
        files |= {f"{n:03}.jpg": jpeg(photograph(480 + n, 500, seed=n)) for n in range(0, 600, 60)}
        index = records_of(archive_of(tmp_path / "a.zip", files), files).sample(
            frac=1, random_state=0
        )
        packed = []
        for workers in (1, 4, 1):
            pack(index, crop=None, size=32, workers=workers, decoding=decoding, **out)
            packed.append((out["out_array"].read_bytes(), out["out_table"].read_bytes()))
        assert packed[0] == packed[1] == packed[2]
        images, table = packed_set(out)
        assert set(table["decoding"]) == {decoding}
        for row in (0, 1, 300, 599, int((table["id"] == "060.jpg").argmax())):
            data = files[table["id"][row]]
            expected = preprocess_files([(data, "x")], Preprocessing(None, 32, decoding=decoding))
            np.testing.assert_array_equal(images[row], expected[0])

    @pytest.mark.parametrize("decoding", ["exact", "fast"])
    def test_masks_lie_on_their_images_however_those_are_decoded(
        self, tmp_path: Path, out: dict[str, Path], decoding: Literal["exact", "fast"]
    ) -> None:
        """An image that shows its own mask; an odd margin, an asymmetric lesion."""
        mask = np.zeros((902, 1203), np.uint8)
        mask[301:520, 405:1001] = 255
        files = {"i.jpg": jpeg(np.repeat(mask[..., None], 3, axis=2)), "m.png": png(mask)}
        path = archive_of(tmp_path / "a.zip", files)
        index = (
            records_of(path, files)
            .iloc[:1]
            .assign(
                mask_archive=str(path),
                mask_member="m.png",
                mask_sha256=hashlib.sha256(files["m.png"]).hexdigest(),
            )
        )
        options = {"crop": None, "size": 64, "decoding": decoding}
        pack(index, **options, **out)
        shown = packed_set(out).images[0, ..., 0]
        pack(index, masks=True, **options, **out)
        result = packed_set(out)
        assert result.table["decoding"].tolist() == ["exact"]
        sure = (shown >= 200) | (shown <= 55)
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(result.images[0, ..., 0][sure], 255 * (shown[sure] > 127))

    def test_grey_has_one_channel(self, tmp_path: Path, out: dict[str, Path]) -> None:
        grey = smooth(64, 64)[..., 0]
        pack(index_of(tmp_path / "a.zip", [grey]), crop=45, size=32, grey=True, **out)
        packed = load_images(out["out_array"])
        assert packed.shape == (1, 32, 32, 1)
        np.testing.assert_array_equal(packed[0, ..., 0], preprocess(grey, crop=45, size=32))

    def test_masks_have_one_channel_of_two_values(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        masks = [np.uint8(255) * (smooth(50, 60, seed)[..., 0] > 128) for seed in (1, 2)]
        index = index_of(tmp_path / "a.zip", [smooth(50, 60)] * 2, masks)
        pack(index, crop=None, size=32, masks=True, **out)
        packed = packed_set(out)
        assert packed.images.shape == (2, 32, 32, 1)
        for n, mask in enumerate(masks):
            expected = preprocess_mask(mask, crop=None, size=32)
            np.testing.assert_array_equal(packed.images[n, ..., 0], expected)
        assert packed.table["source_sha256"][1] == hashlib.sha256(png(masks[1])).hexdigest()

    def test_images_without_masks_are_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 2)
        with pytest.raises(MeddiffError, match=r"2 images .* x/0, x/1;"):
            pack(index, crop=None, size=32, masks=True, **out)

    def test_a_source_that_changed_is_refused_and_nothing_is_written(
        self, tmp_path: Path, out: dict[str, Path]
    ) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40, seed) for seed in range(3)])
        pack(index, crop=None, size=32, **out)
        before = {path: path.read_bytes() for path in out.values()}
        archive_of(
            tmp_path / "a.zip", {f"i{n}.png": png(smooth(40, 40, n + (n == 1))) for n in range(3)}
        )
        with pytest.raises(MeddiffError, match=r"i1\.png in .*a\.zip changed"):
            pack(index, crop=None, size=32, **out)
        assert {path: path.read_bytes() for path in out.values()} == before
        assert sorted(out["out_array"].parent.iterdir()) == sorted(out.values())

    def test_an_image_below_the_crop_is_named(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(64, 64), smooth(40, 64)])
        with pytest.raises(MeddiffError, match=r"i1\.png in .*64x40 px.* 45:"):
            pack(index, crop=45, size=32, **out)

    def test_no_images(self, tmp_path: Path, out: dict[str, Path]) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)])
        with pytest.raises(MeddiffError, match=r"no images .*x\.npy"):
            pack(index.iloc[:0], crop=None, size=32, **out)

    def test_a_full_disk_is_an_error_not_a_crash(self, tmp_path: Path, small_disk: Path) -> None:
        index = index_of(tmp_path / "a.zip", [smooth(40, 40)] * 30)
        with pytest.raises(MeddiffError, match=r"no space .*x\.(npy|csv)"):
            pack(
                index,
                crop=None,
                size=128,
                out_array=small_disk / "x.npy",
                out_table=small_disk / "x.csv",
            )
        assert list(small_disk.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class TestLoad:
    def test_a_truncated_array(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npy"
        np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
        data = path.read_bytes()
        for kept in (0, 5, 60, len(data) - 1):
            path.write_bytes(data[:kept])
            with pytest.raises(MeddiffError, match=r"x\.npy .*\bwhole\b"):
                load_images(path)

    def test_a_missing_array(self, tmp_path: Path) -> None:
        with pytest.raises(MeddiffError, match=rf"absent\.npy.*{errno.ENOENT}"):
            load_images(tmp_path / "absent.npy")

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((3, 8, 8, 3), np.float32),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((3, 8, 8, 2), np.uint8),
        ],
    )
    def test_other_arrays(self, tmp_path: Path, array: np.ndarray) -> None:
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(MeddiffError, match=r"x\.npy .*uint8 \(n, height, width, 1 or 3\)"):
            load_images(tmp_path / "x.npy")

    @pytest.mark.parametrize(
        ("array", "steps"),
        [
            (np.zeros((3, 8, 8, 3), np.float32), ["x 255"]),
            (np.full((3, 8, 8, 3), -1.0), ["[-1, 1]"]),
            (np.full((3, 8, 8, 1), 4095, np.uint16), ["4095"]),
            (np.zeros((3, 3, 8, 8), np.uint8), ["transpose(0, 2, 3, 1)"]),
            (np.ones((3, 1, 8, 8), np.float64), ["transpose(0, 2, 3, 1)", "x 255"]),
            (np.zeros((3, 8, 8), np.uint8), ["[..., None]"]),
            (np.zeros((3, 8, 8, 1), bool), ["x 255"]),
            (np.zeros((3, 8, 8, 1), complex), ["uint8"]),
            (np.full((3, 8, 8, 1), np.nan), ["nan"]),
        ],
    )
    def test_ones_own_array_is_told_how_to_convert(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        array: np.ndarray,
        steps: list[str],
    ) -> None:
        """Only what a record calls the workflow's own is to be made anew."""
        monkeypatch.chdir(tmp_path)
        np.save("x.npy", array)
        with pytest.raises(MeddiffError) as error:
            load_images("x.npy")
        assert all(step in str(error.value) for step in steps)
        assert "rerun" not in str(error.value)
        record = RECORDS / "x.npy.json"
        record.parent.mkdir(parents=True)
        record.write_text('{"rule": "image_sets"}')
        with pytest.raises(MeddiffError, match="rerun"):
            load_images("x.npy")

    def test_pickles_are_not_run(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(MeddiffError, match=r"x\.npy"):
            load_images(tmp_path / "x.npy")

    def test_images_are_read_only(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="read-only"):
            load_images(tmp_path / "x.npy")[0] = 1
