"""The object a report is about: what may be referred to, and what is copied from it.

Rules
-----
* Without valid Study, Series and SOP Instance UIDs and a SOP Class UID nothing can be referred to:
  ReportError. Likewise a picture without Rows and Columns: no region of it would mean anything.
* A waveform and a document are no pictures, and have neither regions nor frames to name.
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

import copy
import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.valuerep import STR_VR

from dicom_node.charset import decode_dataset
from dicom_node.codes import Concept
from dicom_node.elements import data_set, encode
from dicom_node.report import attributes
from dicom_node.report.content import ReferenceType, Relationship, reference
from dicom_node.report.region import clip
from dicom_node.report.result import Corners, ReportError

#: Control characters, but for the escape that changes character sets (PS3.5 section 6.1.3).
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")
_REFERABLE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


# PS3.3 section A.34, A.45: classes whose objects have no pixels.
_WAVEFORMS = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.9(\..+)?")
_DOCUMENTS = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.104\..+")


@dataclass(frozen=True)
class Source:
    """The header of an object, decoded and checked.

    Attributes
    ----------
    value_type : {"IMAGE", "WAVEFORM", "COMPOSITE"}
        As what content items refer to it.
    rows, columns : int
        0 where it is no picture.
    frames : int
        1 where it is no picture.
    """

    header: Dataset
    value_type: ReferenceType
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
        value_type = _value_type(str(header.SOPClassUID))
        if value_type != "IMAGE":
            return cls(header, value_type, 0, 0, 1)
        rows, columns = _count(header, "Rows"), _count(header, "Columns")
        if rows < 1 or columns < 1:
            raise ReportError("the source has no Rows and Columns, so no region can be told")
        return cls(header, value_type, rows, columns, max(1, _count(header, "NumberOfFrames")))

    @property
    def uid(self) -> str:
        """The SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def is_picture(self) -> bool:
        """Whether it has pixels, hence regions and frames."""
        return self.value_type == "IMAGE"

    def frames_to_name(self, frames: Sequence[int | None]) -> Sequence[int | None]:
        """The frames that can be named of those a result is of."""
        return frames if self.is_picture else (None,)

    def item(
        self,
        relationship: Relationship,
        name: Concept,
        frame_number: int | None = None,
        children: Sequence[Dataset] = (),
    ) -> Dataset:
        """Return a content item that refers to the object, or to one frame of it."""
        referenced = self.reference(frame_number)
        return reference(relationship, self.value_type, name, referenced, children)

    def reference(self, frame_number: int | None = None) -> Dataset:
        """Return an item of a Referenced SOP Sequence; the frame only where there are several.

        Raises
        ------
        ReportError
            The source has no such frame.
        """
        item = data_set(
            ReferencedSOPClassUID=str(self.header.SOPClassUID), ReferencedSOPInstanceUID=self.uid
        )
        if frame_number is not None and self.is_picture:
            if not 1 <= frame_number <= self.frames:
                raise ReportError(
                    f"expected a frame of 1 to {self.frames}, received {frame_number}"
                )
            if self.frames > 1:
                item.ReferencedFrameNumber = frame_number
        return item

    def clip(self, region: Corners | None) -> Corners:
        """The part of a region inside the picture's edges; without any, the whole picture."""
        return clip(region, rows=self.rows, columns=self.columns)

    def evidence(self) -> Dataset:
        """Return an item of the Current Requested Procedure Evidence Sequence."""
        series = data_set(
            SeriesInstanceUID=str(self.header.SeriesInstanceUID),
            ReferencedSOPSequence=[self.reference()],
        )
        return data_set(
            StudyInstanceUID=str(self.header.StudyInstanceUID), ReferencedSeriesSequence=[series]
        )

    def copy_identity(self, report: Dataset) -> None:
        """Copy patient and study to a report (PS3.3 C.7.1, C.7.2)."""
        report.update({tag: copy.copy(element) for tag, element in self._identity.items()})

    @functools.cached_property
    def _identity(self) -> Dataset:
        """Patient and study: the same for every report."""
        identity = data_set(StudyInstanceUID=str(self.header.StudyInstanceUID))
        for keyword in attributes.ALWAYS:
            _copy_or_empty(identity, keyword, self.header)
        for keyword in attributes.WHERE_PRESENT:
            _copy(identity, keyword, self.header)
        return identity

    def identity_digest(self) -> str:
        """Return a digest of all that tells patient, study and order."""
        identity = Dataset()
        self.copy_identity(identity)
        if self.orders:
            identity.update(data_set(ReferencedRequestSequence=self.orders))
        return hashlib.sha256(encode(identity)).hexdigest()

    @functools.cached_property
    def orders(self) -> tuple[Dataset, ...]:
        """Return the requests the object was made for, so that the report joins them (C.17.2).

        What a request does not say itself is taken from the header where there is but one request:
        of several, nobody could tell whose it is.
        """
        requests = attributes.items_of(self.header, "RequestAttributesSequence") or [self.header]
        places = [(r,) if len(requests) > 1 else (r, self.header) for r in requests]
        return tuple(order for place in places if (order := self._order(place)) is not None)

    def _order(self, places: tuple[Dataset, ...]) -> Dataset | None:
        item = Dataset()
        for keyword in attributes.ORDER:
            _copy(item, keyword, *places)
        if not any(keyword in item for keyword in attributes.ORDER_IDENTIFIERS):
            return None
        item.update(data_set(StudyInstanceUID=str(self.header.StudyInstanceUID)))
        for keyword in attributes.ORDER_ALWAYS:
            _copy_or_empty(item, keyword, *places)
        return item


def _value_type(sop_class_uid: str) -> ReferenceType:
    if _WAVEFORMS.fullmatch(sop_class_uid):
        return "WAVEFORM"
    return "COMPOSITE" if _DOCUMENTS.fullmatch(sop_class_uid) else "IMAGE"


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
        target.update(data_set(**{keyword: attributes.empty_value(keyword)}))
