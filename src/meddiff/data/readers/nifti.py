"""NIfTI: slices of a volume, turned as radiologists look at them."""

import gzip
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.imports import needing
from meddiff.data.readers.frames import Entry, Frame, Tones, check_pixels, chosen
from meddiff.data.readers.settings import Reading

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Axis of a volume across the slices of each plane, once it runs left, posterior, superior."""
WINDOW = (0.5, 99.5)
"""Percentiles of a volume that become black and white where the user sets nothing else."""
STEPS = 1001
"""Percentiles of a volume that its slices carry, every tenth of a percent."""
MAX_SAMPLED = 2**22
"""Voxels that percentiles are of, at most, on a regular grid."""
MAX_BYTES = 2**30
"""Largest volume that is read, uncompressed."""
HEADER_BYTES = 540
REMEDY = "replace the file, or move it out of the data"


class _Volume(NamedTuple):
    """A volume's header: what its voxels are and how its axes lie."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    turn: NDArray[np.float64]


def entries(file: BinaryIO, name: str, reading: Reading) -> list[Entry]:
    """List the slices that are read of a volume, as `<plane>-<number>`; the group is the volume.

    Numbers run from 0 to the left, posterior and superior.
    """
    with _readable(name), _opened(file) as stream:
        volume = _header(stream, name)
        across = _turned(np.broadcast_to(np.uint8(0), volume.shape), volume.turn)
    count = across.shape[AXES[reading.plane]]
    numbers = chosen(count, reading.slices)
    return [Entry(f"{reading.plane}-{number}", group="") for number in numbers]


def frames(file: BinaryIO, name: str, keys: Sequence[str]) -> Iterator[tuple[str, Frame]]:
    """Yield slices by key: the right of the patient on the left, anterior or superior on top.

    Of several volumes in a file the first is read. Voxels are not interpolated.
    """
    with _readable(name), _opened(file) as stream:
        volume = _header(stream, name)
        raw = _voxels(stream, volume, name)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise MeddiffError(
            f"{name} has voxels that are not finite (NaN or infinite): replace them by a number, "
            "e.g. with numpy.nan_to_num, and save it anew"
        )
    tones = _tones(raw, volume)
    upright = _turned(raw, volume.turn)
    for key in keys:
        plane, _, number = key.partition("-")
        piece = upright.take(int(number), axis=AXES[plane]).T
        levels = _scaled(piece if plane == "axial" else piece[::-1], volume)
        check_pixels(levels.shape[0], levels.shape[1], name)
        yield key, Frame(levels, f"NIfTI {volume.dtype.name}", tones)


def _header(stream: BinaryIO, name: str) -> _Volume:
    import nibabel

    start = stream.read(HEADER_BYTES)
    kinds = (nibabel.Nifti1Header, nibabel.Nifti2Header)
    fitting = [kind for kind in kinds if kind.may_contain_header(start)]
    if not fitting:
        raise ValueError("it has no NIfTI header")
    header = fitting[0](start[: fitting[0].template_dtype.itemsize])
    shape = tuple(map(int, header.get_data_shape()))[:3]
    shape = cast(tuple[int, int, int], shape + (1,) * (3 - len(shape)))
    slope, intercept = header.get_slope_inter()
    orientations = nibabel.orientations
    axes = orientations.io_orientation(header.get_best_affine())
    if np.isnan(axes).any():
        raise ValueError("its affine gives no orientation")
    turn = orientations.ornt_transform(axes, orientations.axcodes2ornt(("L", "P", "S")))
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise MeddiffError(
            f"{name} has voxels of type {dtype}, where whole numbers and floats are read: convert "
            "it to one of these"
        )
    if math.prod(shape) * dtype.itemsize > MAX_BYTES or min(shape) < 1:
        raise MeddiffError(
            f"{name} has {' x '.join(map(str, shape))} voxels, where volumes of at most "
            f"{MAX_BYTES // 2**20} MiB are read: cut it into parts"
        )
    return _Volume(shape, dtype, int(header.get_data_offset()), slope or 1, intercept or 0, turn)


def _voxels(stream: BinaryIO, volume: _Volume, name: str) -> NDArray[Any]:
    """Return the first volume of a file as it is stored."""
    stream.seek(volume.offset)
    size = math.prod(volume.shape) * volume.dtype.itemsize
    data = stream.read(size)
    # At the end of a compressed file its checksum is tested.
    stream.read(1)
    if len(data) < size:
        raise EOFError(f"it ends after {len(data)} of {size} bytes")
    return np.frombuffer(data, volume.dtype).reshape(volume.shape, order="F")


def _tones(raw: NDArray[Any], volume: _Volume) -> Tones:
    step = max(1, math.ceil((raw.size / MAX_SAMPLED) ** (1 / 3)))
    sample = np.sort(_scaled(raw[::step, ::step, ::step], volume), axis=None)
    steps = np.linspace(0, 100, STEPS)
    percentiles = np.percentile(sample, steps)
    low, high = np.interp(WINDOW, steps, percentiles)
    # A volume of one level is black.
    curve = (float(low), float(max(high, low + 1e-6))), (0.0, 255.0)
    return Tones(curve, percentiles=tuple(map(float, percentiles)))


def _scaled(levels: NDArray[Any], volume: _Volume) -> NDArray[Any]:
    if (volume.slope, volume.intercept) == (1, 0):
        # Eight bits, too, are levels that a window turns to grey.
        return levels.astype(np.uint16) if levels.dtype == np.uint8 else levels
    return (levels * volume.slope + volume.intercept).astype(np.float32)


def _turned(raw: NDArray[Any], turn: NDArray[np.float64]) -> NDArray[Any]:
    """Return a view whose axes run to the left, to the back and up."""
    from nibabel.orientations import apply_orientation

    return np.asarray(apply_orientation(raw, turn))


@contextmanager
def _opened(file: BinaryIO) -> Iterator[BinaryIO]:
    """Open a file that may be compressed, whatever its name."""
    file.seek(0)
    start = file.read(2)
    file.seek(0)
    if start != b"\x1f\x8b":
        yield file
        return
    with gzip.open(file, "rb") as stream:
        yield cast(BinaryIO, stream)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    with needing("nifti", name):
        import nibabel  # noqa: F401
    try:
        yield
    except MeddiffError:
        raise
    # nibabel raises a dozen kinds of exception for damaged headers.
    except Exception as error:
        reason = one_line(error)
        raise MeddiffError(f"{name} is not a readable NIfTI file ({reason}): {REMEDY}") from error
