"""DICOM: the images of a file, with the window that the file has for them, and their patient.

Nothing that identifies a patient leaves this module: errors quote no element of a file, pydicom's
own messages are silenced, and the ID becomes a keyed digest.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError
from meddiff.core.imports import needing
from meddiff.data.readers.frames import Curve, Entry, Frame, Tones, check_pixels, chosen
from meddiff.data.readers.pseudonyms import pseudonym
from meddiff.data.readers.settings import Reading

START = 132
"""Bytes at the start of a file by which `is_dicom` decides."""
META_BYTES = 4096
"""Start of a file that has its transfer syntax."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
               "YBR_ICT", "YBR_RCT")  # fmt: skip
"""Kinds of pixels that are read."""
SIGMOID_POINTS = 1025
REMEDY = "replace the file, or move it out of the data"


def is_dicom(start: bytes) -> bool:
    """Return whether a file starts as a DICOM file does, whatever its name."""
    return start[START - 4 : START] == b"DICM"


def entries(file: BinaryIO, name: str, reading: Reading) -> list[Entry]:
    """List a file's frames; the group is the digest of the patient's ID, else of the study's UID.

    Files without images (reports, plans) have none.
    """
    with _readable(name, "header"):
        header = _header(file, name)
        if "Rows" not in header or "Columns" not in header:
            return []
        count = int(header.get("NumberOfFrames") or 1)
        identity = str(header.get("PatientID") or header.get("StudyInstanceUID") or "").strip()
    group = pseudonym(identity) if identity else None
    keys = [""] if count == 1 else [str(number) for number in chosen(count, reading.slices)]
    return [Entry(key, group=group) for key in keys]


def frames(file: BinaryIO, name: str, keys: Sequence[str]) -> Iterator[tuple[str, Frame]]:
    """Yield frames by key, in the order of the file.

    Levels are the modality's (rescaled; Hounsfield units for CT). Their tones are the first VOI
    table or window of the file (PS3.3 C.11.2), turned over for MONOCHROME1. Colours become RGB.
    """
    with _readable(name, "header"):
        header = _header(file, name)
        numbers = {int(key or 0): key for key in keys}
        check_pixels(int(header.get("Rows") or 0), int(header.get("Columns") or 0), name)
    from pydicom.pixels import iter_pixels

    file.seek(0)
    wanted = sorted(numbers)
    pixels = iter_pixels(file, indices=wanted)
    for number in wanted:
        with _readable(name, f"pixels ({_syntax(header)})"):
            frame = _frame(next(pixels), header, number)
        yield numbers[number], frame


def _frame(stored: NDArray[Any], header: Any, number: int) -> Frame:
    photometric = str(header.PhotometricInterpretation)
    if photometric not in PHOTOMETRIC:
        raise RuntimeError(photometric)
    encoding = f"DICOM {photometric} {_syntax(header)}"
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        stored = apply_color_lut(stored, header)
        bits = int(header.RedPaletteColorLookupTableDescriptor[2])
        return Frame(_eight_bits(stored, bits), encoding)
    if stored.ndim == 3:
        return Frame(_eight_bits(stored, int(header.BitsStored)), encoding)
    if int(header.BitsAllocated) == 1:
        return Frame(stored.astype(bool), encoding)
    levels = _rescaled(stored, header, number)
    tones = Tones(_curve(_macro(header, number, "FrameVOILUTSequence"), levels),
                  inverted=photometric == "MONOCHROME1")  # fmt: skip
    if levels.dtype != np.uint8:
        return Frame(levels, encoding, tones)
    greys = np.rint(np.interp(levels, *tones.curve)) if tones.curve else levels
    return Frame((255 - greys if tones.inverted else greys).astype(np.uint8), encoding)


def _eight_bits(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    return (colours >> max(bits - 8, 0)).astype(np.uint8)


def _rescaled(stored: NDArray[Any], header: Any, number: int) -> NDArray[Any]:
    """Return the modality's levels: of whole numbers int32, unless they are as stored."""
    if header.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, header))
    source = _macro(header, number, "PixelValueTransformationSequence")
    slope, intercept = (
        float(source.get("RescaleSlope", 1) or 1),
        float(source.get("RescaleIntercept", 0) or 0),
    )
    if (slope, intercept) == (1, 0):
        return stored
    if stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


def _macro(header: Any, number: int, sequence: str) -> Any:
    """Return what holds attributes of a frame: its own, or the shared, functional group, or all."""
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*own[number : number + 1], *shared[:1]):
        if items := groups.get(sequence):
            return items[0]
    return header


def _curve(source: Any, levels: NDArray[Any]) -> Curve | None:
    """Return the first VOI table or window, as greys in [0, 255] of levels; None without one."""
    if source.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        count, first, bits = map(int, source.VOILUTSequence[0].LUTDescriptor)
        # As signed as the levels are; a count of 0 means 65,536.
        first = first - 2**16 if levels.dtype.kind == "i" and first >= 2**15 else first
        entries = np.arange(first, first + (count or 2**16))
        greys = apply_voi(entries, source) * (255 / (2**bits - 1))
        return tuple(map(float, entries)), tuple(map(float, greys))
    centre, width = _first(source.get("WindowCenter")), _first(source.get("WindowWidth"))
    if centre is None or width is None or width <= 0:
        return None
    function = str(source.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        places = np.linspace(centre - 4 * width, centre + 4 * width, SIGMOID_POINTS)
        greys = 255 / (1 + np.exp(-4 * (places - centre) / width))
        return tuple(map(float, places)), tuple(map(float, greys))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return (centre - width / 2, centre + width / 2), (0.0, 255.0)


def _first(value: Any) -> float | None:
    """Return the first of an element's values, a number."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _header(file: BinaryIO, name: str) -> Any:
    from pydicom import dcmread

    file.seek(0)
    # pydicom would unfold all of such a file at once, whatever it grows to.
    if DEFLATED in file.read(META_BYTES):
        raise MeddiffError(
            f"{name} is deflated as a whole, a rare kind of DICOM that is not read: save it as "
            "Explicit VR Little Endian"
        )
    file.seek(0)
    return dcmread(file, stop_before_pixels=True)


def _syntax(header: Any) -> str:
    """Return the name of the transfer syntax, from pydicom's dictionary, never from the file."""
    from pydicom.uid import UID

    uid = UID(str(getattr(header, "file_meta", {}).get("TransferSyntaxUID", "")))
    return uid.name if uid.is_transfer_syntax else "unknown transfer syntax"


@contextmanager
def _readable(name: str, part: str) -> Iterator[None]:
    """Turn errors of a damaged file into one line that quotes nothing from it."""
    with needing("dicom", name):
        import pydicom  # noqa: F401
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MeddiffError:
        raise
    except Exception as error:
        # Not `from error`, whose text may quote an element.
        raise MeddiffError(f"{name} {_fault(error, part)}") from None


def _fault(error: Exception, part: str) -> str:
    """Say what is wrong with a file and what to do, in words that are never the file's."""
    kind = type(error).__name__
    if kind == "InvalidDicomError":
        return f"is no DICOM file by its content: {REMEDY}"
    if "no pixel data" in str(error):
        return f"is a DICOM file without pixels: {REMEDY}"
    if isinstance(error, RuntimeError):
        return (
            f"is a DICOM file whose {part} cannot be decoded: pip install 'meddiff[dicom]' for all "
            "decoders; if they are there, replace the file or save it uncompressed"
        )
    return f"is a damaged DICOM file (its {part}: {kind}): {REMEDY}"
