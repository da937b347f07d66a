"""Whose ECG it is and what it was ordered as: read from a worklist item, written into an object.

An object that carries its order's Study Instance UID, accession number and request attributes joins
that order in the archive, and so do the reports made of it.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

SEXES: Final = ("M", "F", "O")

# PS3.5 section 6.2: how long a value may be, in characters.
_LENGTHS: Final = {
    "patient_id": 64,
    "accession_number": 16,
    "requested_procedure_id": 16,
    "patient_name": 64 * 3 + 2,
}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_UID: Final = re.compile(r"(?=.{1,64}\Z)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_DATE: Final = re.compile(r"(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)


@dataclass(frozen=True)
class Code:
    """A code of an order, as its information system has it (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Order:
    """A patient, and what was ordered. Everything but the patient's ID may be empty.

    Attributes
    ----------
    patient_name : str
        A person name of PS3.5 section 6.2.1: ``Family^Given``, its scripts parted by ``=``.
    patient_birth_date : str
        YYYYMMDD.
    patient_sex : str
        M, F, O, or empty: what else a worklist says (``U``) means that it does not know.
    study_instance_uid : str
        The study the order gave its results a place in; empty when no worklist named one.
    scheduled_at : str
        When it is due, YYYYMMDD; for people who choose among several.
    modality : str
        What is to make it (PS3.3 section C.7.3.1.1.1), ``ECG`` for one; empty when not said.
    """

    patient_id: str
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    issuer_of_patient_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    referring_physician_name: str = ""
    requested_procedure_id: str = ""
    requested_procedure_description: str = ""
    requested_procedure_code: Code | None = None
    scheduled_step_id: str = ""
    scheduled_step_description: str = ""
    scheduled_at: str = ""
    modality: str = ""

    @classmethod
    def from_worklist(cls, item: Dataset) -> Self:
        """Read a Modality Worklist item (PS3.4 Table K.6-1) whose text is decoded."""
        step = _first(item, "ScheduledProcedureStepSequence")
        code = _first(item, "RequestedProcedureCodeSequence")
        sex = _text(item, "PatientSex")
        return cls(
            patient_id=_text(item, "PatientID"),
            patient_name=_text(item, "PatientName"),
            patient_birth_date=_text(item, "PatientBirthDate"),
            patient_sex=sex if sex in SEXES else "",
            issuer_of_patient_id=_text(item, "IssuerOfPatientID"),
            accession_number=_text(item, "AccessionNumber"),
            study_instance_uid=_text(item, "StudyInstanceUID"),
            referring_physician_name=_text(item, "ReferringPhysicianName"),
            requested_procedure_id=_text(item, "RequestedProcedureID"),
            requested_procedure_description=_text(item, "RequestedProcedureDescription"),
            requested_procedure_code=_code(code),
            scheduled_step_id=_text(step, "ScheduledProcedureStepID"),
            scheduled_step_description=_text(step, "ScheduledProcedureStepDescription"),
            scheduled_at=_text(step, "ScheduledProcedureStepStartDate"),
            modality=_text(step, "Modality"),
        )

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Make one of what :meth:`as_values` returned."""
        code = values.get("requested_procedure_code")
        return cls(**{**values, "requested_procedure_code": Code(**code) if code else None})

    def as_values(self) -> dict[str, Any]:
        """Return it as plain values that fit into JSON."""
        return asdict(self)

    def describe(self, ds: Dataset) -> None:
        """Write patient, study and request into an object (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1).

        Parameters
        ----------
        ds : Dataset
            Its Study Instance UID stays where the order has none.
        """
        ds.SpecificCharacterSet = "ISO_IR 192"
        _put(ds, "PatientName", self.patient_name)
        _put(ds, "PatientID", self.patient_id)
        if self.issuer_of_patient_id:
            _put(ds, "IssuerOfPatientID", self.issuer_of_patient_id)
        _put(ds, "PatientBirthDate", self.patient_birth_date)
        _put(ds, "PatientSex", self.patient_sex)
        _put(ds, "AccessionNumber", self.accession_number)
        _put(ds, "ReferringPhysicianName", self.referring_physician_name)
        _put(ds, "StudyID", (self.requested_procedure_id or self.accession_number)[:16])
        if self.study_instance_uid:
            ds.StudyInstanceUID = UID(self.study_instance_uid)
        if self.requested_procedure_description:
            _put(ds, "StudyDescription", self.requested_procedure_description)
        if self.requested_procedure_code:
            ds.ProcedureCodeSequence = Sequence([_code_item(self.requested_procedure_code)])
        if request := self._request():
            ds.RequestAttributesSequence = Sequence([request])

    def _request(self) -> Dataset | None:
        """Return the item of the Request Attributes Sequence (PS3.3 Table 10-9)."""
        if not (self.requested_procedure_id or self.scheduled_step_id):
            return None
        item = Dataset()
        _put_known(item, "AccessionNumber", self.accession_number)
        _put_known(item, "StudyInstanceUID", self.study_instance_uid)
        _put_known(item, "RequestedProcedureDescription", self.requested_procedure_description)
        if self.requested_procedure_code:
            item.RequestedProcedureCodeSequence = Sequence(
                [_code_item(self.requested_procedure_code)]
            )
        _put_known(item, "RequestedProcedureID", self.requested_procedure_id)
        _put_known(item, "ScheduledProcedureStepDescription", self.scheduled_step_description)
        _put_known(item, "ScheduledProcedureStepID", self.scheduled_step_id)
        return item

    def faults(self) -> dict[str, str]:
        """Return what is wrong with what a person typed: the field, and what was expected."""
        found = {}
        for name, length in _LENGTHS.items():
            value = getattr(self, name)
            if len(value) > length:
                found[name] = f"expected at most {length} characters, received {len(value)}"
            elif _CONTROL.search(value):
                found[name] = "expected neither backslash nor control characters"
        if self.study_instance_uid and not is_uid(self.study_instance_uid):
            found["study_instance_uid"] = "expected a UID: numbers parted by points"
        if not self.patient_id:
            found["patient_id"] = "expected the patient's ID, received nothing"
        if self.patient_birth_date and not _DATE.fullmatch(self.patient_birth_date):
            found["patient_birth_date"] = "expected a date as YYYYMMDD or YYYY-MM-DD"
        if self.patient_sex and self.patient_sex not in SEXES:
            found["patient_sex"] = f"expected one of {', '.join(SEXES)}"
        return found


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID (PS3.5 section 9.1)."""
    return _UID.fullmatch(text) is not None


def _first(ds: Dataset, keyword: str) -> Dataset:
    items = ds.get(keyword)
    first = items[0] if isinstance(items, Sequence) and items else None
    return first if isinstance(first, Dataset) else Dataset()


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).strip()


def _code(item: Dataset) -> Code | None:
    code = Code(
        _text(item, "CodeValue"), _text(item, "CodingSchemeDesignator"), _text(item, "CodeMeaning")
    )
    return code if code.value and code.scheme else None


def _code_item(code: Code) -> Dataset:
    item = Dataset()
    _put(item, "CodeValue", code.value)
    _put(item, "CodingSchemeDesignator", code.scheme)
    _put(item, "CodeMeaning", code.meaning)
    return item


def _put_known(ds: Dataset, keyword: str, value: str) -> None:
    if value:
        _put(ds, keyword, value)


def _put(ds: Dataset, keyword: str, value: str) -> None:
    # What an information system says of itself is passed on, too long or not.
    vr = dictionary_VR(keyword)
    ds[keyword] = DataElement(keyword, vr, value, validation_mode=config.IGNORE)
