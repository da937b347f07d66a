"""The picture a report is about: what may be referred to, and what is copied from it.

Rules
-----
* Without valid Study, Series and SOP Instance UIDs and a SOP Class UID nothing can be referred to:
  ReportError.
* Names, identifiers and other text of patient and order are copied as they are, in Unicode; an
  identifier is never cut or mended, since another string is another patient.
* Dates, times and coded strings that are not legal are left empty, as if they had been absent.
* What the source lacks stays absent, or empty where the attribute is of type 2.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID

from dicom_node.charset import decode_dataset
from dicom_node.report.result import ReportError

#: Type 2 in a report: present even when the source lacks it (PS3.3 C.7.1.1, C.7.2.1).
_ALWAYS: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
#: Copied where the source has them.
_WHERE_PRESENT: Final = (
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
)
_LEGAL: Final[Mapping[str, re.Pattern[str]]] = {
    "DA": re.compile(r"(1[89]|2\d)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"),
    "CS": re.compile(r"[A-Z0-9 _]{1,16}"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DS": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
}
_ORDER: Final = (
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
)


@dataclass(frozen=True)
class Source:
    """The header of a picture, decoded and checked."""

    header: Dataset

    @classmethod
    def of(cls, ds: Dataset) -> "Source":
        """Decode and check a data set.

        Raises
        ------
        ReportError
            A UID without which nothing can be referred to is missing or illegal.
        """
        header = decode_dataset(ds)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            value = header.get(keyword)
            if not value or not UID(str(value)).is_valid:
                raise ReportError(f"the source has no legal {keyword}, so nothing can refer to it")
        return cls(header)

    @property
    def uid(self) -> str:
        """The SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def rows(self) -> int:
        """Rows of the stored picture."""
        return int(self.header.Rows)

    @property
    def columns(self) -> int:
        """Columns of the stored picture."""
        return int(self.header.Columns)

    def reference(self, frame_number: int | None = None) -> Dataset:
        """Return an item of a Referenced SOP Sequence."""
        item = Dataset()
        item.ReferencedSOPClassUID = UID(str(self.header.SOPClassUID))
        item.ReferencedSOPInstanceUID = UID(self.uid)
        if frame_number is not None:
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
        """Copy patient, study and order to a report (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""
        report.StudyInstanceUID = UID(str(self.header.StudyInstanceUID))
        for keyword in _ALWAYS:
            _copy(self.header, report, keyword)
            if keyword not in report:
                setattr(report, keyword, "")
        for keyword in _WHERE_PRESENT:
            _copy(self.header, report, keyword)
        if order := self._order():
            report.ReferencedRequestSequence = ItemSequence([order])

    def _order(self) -> Dataset | None:
        """The request the picture was made for, so that the report joins it (PS3.3 C.17.2)."""
        requests = self.header.get("RequestAttributesSequence") or []
        request = requests[0] if requests else self.header
        given = {keyword: _legal(request, keyword) for keyword in _ORDER}
        if not any(given.values()) and not _legal(self.header, "AccessionNumber"):
            return None
        item = Dataset()
        item.StudyInstanceUID = UID(str(self.header.StudyInstanceUID))
        item.ReferencedStudySequence = ItemSequence([])
        _copy(self.header, item, "AccessionNumber")
        if "AccessionNumber" not in item:
            item.AccessionNumber = ""
        _copy(self.header, item, "IssuerOfAccessionNumberSequence")
        for keyword in _ORDER:
            _copy(request, item, keyword)
            if keyword not in item:
                setattr(item, keyword, "")
        codes = request.get("RequestedProcedureCodeSequence") or []
        item.RequestedProcedureCodeSequence = ItemSequence(copy.deepcopy(list(codes)))
        return item


def _legal(ds: Dataset, keyword: str) -> Any:
    """Return a value that may be copied, or None."""
    value = ds.get(keyword)
    if value is None or value == "" or value == []:
        return None
    pattern = _LEGAL.get(dictionary_VR(keyword))
    if pattern is not None and not pattern.fullmatch(str(value).strip()):
        return None
    return value


def _copy(ds: Dataset, target: Dataset, keyword: str) -> None:
    if _legal(ds, keyword) is not None:
        # The element, not its value: assigning would judge the length of an identifier anew.
        target.add(copy.deepcopy(ds[keyword]))
