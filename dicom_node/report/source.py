"""The picture a report is about: what may be referred to, and what is copied from it.

Rules
-----
* Without valid Study, Series and SOP Instance UIDs and a SOP Class UID nothing can be referred to,
  and without Rows and Columns no region means anything: ReportError.
* Names and other text of patient, study and order are copied in Unicode, over-long ones too,
  without control characters; what cannot be read becomes U+FFFD, which a person sees.
* Identifiers of patient and order are copied as they are or not at all: one that holds a control
  character, or a byte that its character set does not know, is a ReportError, since another string
  is another patient.
* Dates, times, numbers, UIDs and coded strings that are not legal are left empty, as if absent. So
  are the items of a sequence that lack what makes them one (a code without scheme or meaning, an
  issuer without a name).
* What is encoded with a VR of another kind than its own (a name as a number, a sequence as text)
  counts as absent; text under another text VR is copied under its own.
* What the source lacks stays absent, or empty where the attribute is of type 2.
"""

import hashlib
import re
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID
from pydicom.valuerep import STR_VR

from dicom_node.charset import decode_dataset
from dicom_node.report import attributes
from dicom_node.report.result import ReportError

#: Control characters, but for the escape that changes character sets (PS3.5 section 6.1.3).
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")
_REFERABLE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class Source:
    """The header of a picture, decoded and checked."""

    header: Dataset
    rows: int
    columns: int
    frames: int

    @classmethod
    def of(cls, ds: Dataset) -> "Source":
        """Decode and check a data set, which stays as it is.

        Raises
        ------
        ReportError
            Something that no report can be without is missing or illegal.
        """
        header = decode_dataset(ds)
        _check_identifiers(ds, header)
        nested = "RequestAttributesSequence"
        for given, read in zip(
            attributes.items_of(ds, nested), attributes.items_of(header, nested), strict=False
        ):
            _check_identifiers(given, read)
        for keyword in _REFERABLE:
            if not attributes.is_uid(header.get(keyword)):
                raise ReportError(f"the source has no legal {keyword}, so nothing can refer to it")
        rows, columns = _count(header, "Rows"), _count(header, "Columns")
        if rows < 1 or columns < 1:
            raise ReportError("the source has no Rows and Columns, so no region can be told")
        return cls(header, rows, columns, max(1, _count(header, "NumberOfFrames")))

    @property
    def uid(self) -> str:
        """The SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    def reference(self, frame_number: int | None = None) -> Dataset:
        """Return an item of a Referenced SOP Sequence; the frame only where there are several.

        Raises
        ------
        ReportError
            The source has no such frame.
        """
        item = Dataset()
        item.ReferencedSOPClassUID = UID(str(self.header.SOPClassUID))
        item.ReferencedSOPInstanceUID = UID(self.uid)
        if frame_number is not None:
            if not 1 <= frame_number <= self.frames:
                raise ReportError(
                    f"expected a frame of 1 to {self.frames}, received {frame_number}"
                )
            if self.frames > 1:
                item.ReferencedFrameNumber = frame_number
        return item

    def evidence(self) -> Dataset:
        """Return an item of the Current Requested Procedure Evidence Sequence."""
        series = Dataset()
        series.SeriesInstanceUID = UID(str(self.header.SeriesInstanceUID))
        series.ReferencedSOPSequence = ItemSequence([self.reference()])
        study = Dataset()
        study.StudyInstanceUID = UID(str(self.header.StudyInstanceUID))
        study.ReferencedSeriesSequence = ItemSequence([series])
        return study

    def copy_identity(self, report: Dataset) -> None:
        """Copy patient, study and order to a report (PS3.3 C.7.1, C.7.2, C.17.2)."""
        report.StudyInstanceUID = UID(str(self.header.StudyInstanceUID))
        for keyword in attributes.ALWAYS:
            _copy_or_empty(report, keyword, self.header)
        for keyword in attributes.WHERE_PRESENT:
            _copy(report, keyword, self.header)
        if orders := self._orders():
            report.ReferencedRequestSequence = ItemSequence(orders)

    def identity_digest(self) -> str:
        """Return a digest of all that `copy_identity` copies."""
        identity = Dataset()
        self.copy_identity(identity)
        written = DicomBytesIO()
        written.is_implicit_VR, written.is_little_endian = False, True
        write_dataset(written, identity, "utf_8")
        return hashlib.sha256(written.getvalue()).hexdigest()

    def _orders(self) -> list[Dataset]:
        """The requests the picture was made for, so that the report joins them (PS3.3 C.17.2).

        What a request does not say itself is taken from the header where there is but one request:
        of several, nobody could tell whose it is.
        """
        requests = attributes.items_of(self.header, "RequestAttributesSequence") or [self.header]
        places = [(r,) if len(requests) > 1 else (r, self.header) for r in requests]
        return [order for place in places if (order := self._order(place)) is not None]

    def _order(self, places: tuple[Dataset, ...]) -> Dataset | None:
        item = Dataset()
        for keyword in attributes.ORDER:
            _copy(item, keyword, *places)
        if not any(keyword in item for keyword in attributes.ORDER_IDENTIFIERS):
            return None
        item.StudyInstanceUID = UID(str(self.header.StudyInstanceUID))
        for keyword in attributes.ORDER_ALWAYS:
            _copy_or_empty(item, keyword, *places)
        return item


def _check_identifiers(given: Dataset, read: Dataset) -> None:
    """Refuse identifiers that reading had to mend."""
    for keyword in attributes.IDENTIFIERS:
        if keyword not in given:
            continue
        item = given.get_item(keyword)
        vr, value = getattr(item, "VR", None), getattr(item, "value", None)
        if vr not in (None, "UN") and vr not in STR_VR:
            # Of another kind than text, it counts as absent.
            continue
        said = value.decode("latin_1") if isinstance(value, bytes) else str(value or "")
        if _CONTROL.search(said.rstrip(" \0")) or "\ufffd" in str(read.get(keyword, "")):
            raise ReportError(
                f"{keyword} holds characters that cannot be copied as they are; "
                "expected text of its character set"
            )


def _count(ds: Dataset, keyword: str) -> int:
    try:
        return int(ds.get(keyword) or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _copy(target: Dataset, keyword: str, *places: Dataset) -> bool:
    """Copy the first legal value found; tell whether there was one."""
    for ds in places:
        if (element := attributes.legal_element(ds, keyword)) is not None:
            target.add(element)
            return True
    return False


def _copy_or_empty(target: Dataset, keyword: str, *places: Dataset) -> None:
    if not _copy(target, keyword, *places):
        setattr(target, keyword, attributes.empty_value(keyword))
