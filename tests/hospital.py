"""DICOM files with a patient, as hospitals have them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SECRETS = ("DOE^JANE", "MRN-4711-X", "19610203")
"""Name, ID and birth date of the patient."""


def dicom(pixels: np.ndarray, **elements: Any) -> FileDataset:
    """A file with a patient, of pixels (h,w), (frames,h,w) or, in colour, (h,w,3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.PatientName, file.PatientID, file.PatientBirthDate = SECRETS
    file.StudyInstanceUID = generate_uid()
    colour = pixels.shape[-1] == 3
    file.Rows, file.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    file.SamplesPerPixel, file.PlanarConfiguration = (3, 0) if colour else (1, None)
    file.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8 * pixels.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3 and not colour:
        file.NumberOfFrames = len(pixels)
    for name, value in elements.items():
        setattr(file, name, value)
    file.PixelData = pixels.tobytes()
    return file


def saved(path: Path, file: FileDataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(path)
    return path
