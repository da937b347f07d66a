"""A picture as a Secondary Capture Image (PS3.3 section A.8), as most viewers hand over an ECG.

For handing in pictures that are no DICOM objects yet, and for demonstrations and tests. A raster
becomes a Secondary Capture object, several pages a multi-frame one, and the coded picture of a
JPEG file goes in as it is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.jpeg import JpegFrame

_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_MULTI_FRAME_GREY: Final = "1.2.840.10008.5.1.4.1.1.7.2"
_MULTI_FRAME_COLOUR: Final = "1.2.840.10008.5.1.4.1.1.7.4"
_PAGE_NUMBER_VECTOR: Final = 0x00182001
_MAX_SIDE_PX: Final = 65535


def secondary_capture(
    raster: npt.NDArray[np.uint8],
    *,
    patient_id: str,
    patient_name: str = "",
    patient_birth_date: str = "",
    patient_sex: str = "",
    accession_number: str = "",
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    study_id: str = "",
    study_description: str = "",
    series_description: str = "",
    series_number: int = 1,
    instance_number: int = 1,
    referring_physician_name: str = "",
    modality: str = "ECG",
    acquired_at: datetime | None = None,
) -> Dataset:
    """Wrap a picture as a Secondary Capture object.

    Parameters
    ----------
    raster : uint8 array (rows, columns) or (rows, columns, 3)
        Grey or RGB, each side 1 to 65535 pixels.
    patient_birth_date : str
        YYYYMMDD, or empty.
    patient_sex : str
        M, F, O, or empty.
    study_instance_uid, series_instance_uid, sop_instance_uid : str, optional
        New ones by default.
    acquired_at : aware datetime, optional
        When the picture was taken; now by default.

    Returns
    -------
    Dataset
        With File Meta Information, Explicit VR Little Endian, ready for ``save_as``. All text is
        UTF-8 (ISO_IR 192).

    Raises
    ------
    ValueError
        When the raster is of another type or shape, or the time has no zone.
    """
    _check(raster)
    moment = acquired_at or datetime.now(UTC)
    if moment.tzinfo is None:
        raise ValueError("acquired_at needs a time zone")
    instance = UID(sop_instance_uid or generate_uid(prefix=None))

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(_SECONDARY_CAPTURE)
    ds.file_meta.MediaStorageSOPInstanceUID = instance
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME

    # SOP Common
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = UID(_SECONDARY_CAPTURE)
    ds.SOPInstanceUID = instance
    ds.TimezoneOffsetFromUTC = moment.strftime("%z")[:5]

    # Patient, General Study
    ds.PatientName = patient_name
    ds.PatientID = patient_id
    ds.PatientBirthDate = patient_birth_date
    ds.PatientSex = patient_sex
    ds.StudyInstanceUID = UID(study_instance_uid or generate_uid(prefix=None))
    ds.StudyDate = ds.ContentDate = moment.strftime("%Y%m%d")
    ds.StudyTime = ds.ContentTime = moment.strftime("%H%M%S")
    ds.ReferringPhysicianName = referring_physician_name
    ds.StudyID = study_id
    ds.AccessionNumber = accession_number
    if study_description:
        ds.StudyDescription = study_description

    # General Series, SC Equipment
    ds.Modality = modality
    ds.SeriesInstanceUID = UID(series_instance_uid or generate_uid(prefix=None))
    ds.SeriesNumber = series_number
    if series_description:
        ds.SeriesDescription = series_description
    ds.ConversionType = "WSD"

    # General Image
    ds.InstanceNumber = instance_number
    ds.PatientOrientation = ""
    ds.ImageType = ["DERIVED", "SECONDARY"]

    _fill_pixels(ds, [raster])
    return ds


def multi_frame_capture(rasters: Sequence[npt.NDArray[np.uint8]], like: Dataset) -> Dataset:
    """Wrap the pages of one ECG as one multi-frame Secondary Capture object.

    Parameters
    ----------
    rasters : sequence of uint8 arrays
        Pages of one shape, first to last.
    like : Dataset
        What :func:`secondary_capture` made of the first page. It is changed and returned: Grayscale
        Byte or True Color (PS3.3 section A.8.3, A.8.5), a page number for each frame.

    Raises
    ------
    ValueError
        When the pages differ in shape.
    """
    shapes = {raster.shape for raster in rasters}
    if len(shapes) != 1:
        raise ValueError(f"the pages of one object have one size, these have {len(shapes)}")
    ds = like
    sop_class = _MULTI_FRAME_GREY if rasters[0].ndim == 2 else _MULTI_FRAME_COLOUR
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    ds.NumberOfFrames = len(rasters)
    ds.FrameIncrementPointer = _PAGE_NUMBER_VECTOR
    ds.PageNumberVector = list(range(1, len(rasters) + 1))
    # SC Multi-frame Image Module: nobody has looked, and an ECG page often names its patient.
    ds.BurnedInAnnotation = "YES"
    if rasters[0].ndim == 2:
        ds.PresentationLUTShape = "IDENTITY"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    _fill_pixels(ds, rasters)
    return ds


def jpeg_capture(frame: JpegFrame, like: Dataset) -> Dataset:
    """Put a coded picture into a Secondary Capture object, bit for bit.

    Parameters
    ----------
    frame : JpegFrame
        Baseline; what :func:`dicom_node.jpeg.read_jpeg` returned.
    like : Dataset
        What :func:`secondary_capture` made of any raster; its picture is replaced, and it is
        returned.
    """
    ds = like
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.SamplesPerPixel = frame.components
    ds.PhotometricInterpretation = frame.photometric
    ds.Rows, ds.Columns = frame.rows, frame.columns
    if frame.components == 3:
        ds.PlanarConfiguration = 0
    mark_lossy(ds, len(frame.stream))
    ds.add_new("PixelData", "OB", encapsulate([frame.stream]))
    ds["PixelData"].is_undefined_length = True
    return ds


def mark_lossy(ds: Dataset, compressed_bytes: int) -> None:
    """Say that the picture lost detail to JPEG before it came here (PS3.3 C.7.6.1.1.5)."""
    whole_bytes = ds.Rows * ds.Columns * ds.SamplesPerPixel * int(ds.get("NumberOfFrames") or 1)
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = f"{whole_bytes / max(compressed_bytes, 1):.2f}"
    ds.LossyImageCompressionMethod = "ISO_10918_1"


def _check(raster: npt.NDArray[np.uint8]) -> None:
    if raster.dtype != np.uint8:
        raise ValueError(f"a raster is uint8, this one is {raster.dtype}")
    if raster.ndim not in (2, 3) or (raster.ndim == 3 and raster.shape[2] != 3):
        raise ValueError(
            f"a raster has the shape (rows, columns) or (rows, columns, 3), not {raster.shape}"
        )
    if not all(1 <= side <= _MAX_SIDE_PX for side in raster.shape[:2]):
        raise ValueError(f"each side has 1 to {_MAX_SIDE_PX} pixels, not {raster.shape[:2]}")


def _fill_pixels(ds: Dataset, rasters: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Write the pixels of frames of one shape, with one copy of them in memory."""
    is_grey = rasters[0].ndim == 2
    ds.SamplesPerPixel = 1 if is_grey else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if is_grey else "RGB"
    if not is_grey:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rasters[0].shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    # OB has an even length (PS3.5 section 7.1.1).
    padding = b"\0" * (sum(raster.size for raster in rasters) % 2)
    pixels = b"".join([*(np.ascontiguousarray(raster).data for raster in rasters), padding])
    ds.add_new("PixelData", "OB", pixels)
