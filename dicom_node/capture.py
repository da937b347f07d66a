"""A raster as a Secondary Capture Image (PS3.3 section A.8.1), as most viewers hand over an ECG.

For demonstrations, tests, and for handing in pictures that are no DICOM objects yet.
"""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MAX_SIDE_PX = 65535


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

    _fill_pixels(ds, raster)
    return ds


def _check(raster: npt.NDArray[np.uint8]) -> None:
    if raster.dtype != np.uint8:
        raise ValueError(f"a raster is uint8, this one is {raster.dtype}")
    if raster.ndim not in (2, 3) or (raster.ndim == 3 and raster.shape[2] != 3):
        raise ValueError(
            f"a raster has the shape (rows, columns) or (rows, columns, 3), not {raster.shape}"
        )
    if not all(1 <= side <= _MAX_SIDE_PX for side in raster.shape[:2]):
        raise ValueError(f"each side has 1 to {_MAX_SIDE_PX} pixels, not {raster.shape[:2]}")


def _fill_pixels(ds: Dataset, raster: npt.NDArray[np.uint8]) -> None:
    is_grey = raster.ndim == 2
    ds.SamplesPerPixel = 1 if is_grey else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if is_grey else "RGB"
    if not is_grey:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = raster.shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    pixels = np.ascontiguousarray(raster).tobytes()
    # OB has an even length (PS3.5 section 7.1.1).
    ds.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
