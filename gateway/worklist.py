"""Who the patient is and what was ordered, asked of the Peers that have the worklist.

A person types an accession number, a patient ID, or both; the rest comes from the information
system, so that the report joins the order. What does not fit is a question back, never a guess.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from django.conf import settings
from django.db.models import QuerySet
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence

from dicom_node.contexts import WORKLIST_FIND
from dicom_node.errors import DicomError, TooManyMatches
from dicom_node.order import Order, is_uid
from dicom_node.query import find
from gateway import peers
from gateway.models import Peer

MAX_ITEMS: Final = 25
"""As many as a person chooses from."""

_ECG: Final = "ECG"
TOTAL_S: Final = 60.0
# What a name is matched with must not be read as a pattern (PS3.4 section C.2.2.2.4).
_WILDCARDS: Final = frozenset("*?\\")


class LookUpFailed(ValueError):
    """The worklist gave no single answer; the message asks for what would."""


class NotAnswered(LookUpFailed):
    """A worklist could not be asked."""


class NoMatch(LookUpFailed):
    """No worklist has such an item."""


class SeveralMatches(LookUpFailed):
    """More than one order fits."""

    def __init__(self, message: str, orders: Sequence[Order]) -> None:
        super().__init__(message)
        self.orders = tuple(orders)


class Mismatch(LookUpFailed):
    """What was typed and what was found do not belong together, or an ECG cannot be of it."""


def worklists(title: str = "") -> QuerySet[Peer]:
    """Return the Peers that have the worklist; with a title, that one."""
    rows = Peer.objects.filter(is_worklist=True)
    return rows.filter(title=title) if title else rows


def look_up(typed: Order, *, title: str = "") -> Order:
    """Return the one order that what was typed means.

    Parameters
    ----------
    typed
        Of these an accession number or a patient ID at least. The accession number is asked for
        when there is one, and everything else typed is compared with what is found. A study or a
        requested procedure choose among orders of one accession number.
    title
        Of the worklist to ask; all of them by default.

    Raises
    ------
    LookUpFailed
        Its kind says what is in the way, its message what to do.
    """
    return choose(typed, ask(typed, title=title))


def ask(typed: Order, *, title: str = "") -> list[Order]:
    """Return the orders that the worklists have for an accession number, or for a patient ID.

    Raises
    ------
    NotAnswered
        There is no worklist, or one of them could not be asked: what it has is unknown then.
    SeveralMatches
        More than anybody would choose from.
    Mismatch
        One of them cannot be used.
    """
    asked = typed.accession_number or typed.patient_id
    if not asked or _WILDCARDS & set(asked):
        raise NotAnswered(
            "expected an accession number or a patient ID without * ? \\, "
            f"received {asked or 'neither'}"
        )
    rows = list(worklists(title))
    if not rows:
        named = f"{title!r}" if title else "none"
        raise NotAnswered(f"expected a Peer that has the worklist, found {named}")
    found: list[Order] = []
    for peer in rows:
        try:
            found += _find(peer, typed)
        except TooManyMatches as error:
            raise NotAnswered(f"{peer.title}: {error}: its list is too long to look into") from None
        except DicomError as error:
            raise NotAnswered(f"{peer.title}: {error}") from error
    orders = _joined(found)
    if len(orders) > MAX_ITEMS:
        raise SeveralMatches(f"more than {MAX_ITEMS} orders fit: give the accession number", ())
    return orders


def _find(peer: Peer, typed: Order) -> Iterator[Order]:
    """Ask one worklist, and yield what fits.

    The accession number is an optional key (PS3.4 Table K.6-1): a worklist that does not match it
    answers with everything it has.
    """
    for item in find(
        peer.entity,
        _identifier(typed),
        model=WORKLIST_FIND,
        calling_title=settings.ECG_AE_TITLE,
        timeouts=peers.timeouts(),
        total_s=TOTAL_S,
    ):
        order = Order.from_worklist(item)
        if not _fits(typed, order):
            continue
        uid = order.study_instance_uid
        if uid and not is_uid(uid):
            raise Mismatch(
                f"expected a Study Instance UID, {peer.title} has {uid!r} in its order: "
                "it has to be corrected there"
            )
        yield order


def _identifier(typed: Order) -> Dataset:
    """Return what is matched and what is wanted back (PS3.4 Table K.6-1)."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    if typed.accession_number:
        ds.AccessionNumber, ds.PatientID = typed.accession_number, ""
    else:
        ds.AccessionNumber, ds.PatientID = "", typed.patient_id
    for keyword in (
        "ReferringPhysicianName",
        "PatientName",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
    ):
        setattr(ds, keyword, "")
    code = Dataset()
    code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = ""
    ds.RequestedProcedureCodeSequence = ItemSequence([code])
    step = Dataset()
    for keyword in (
        "Modality",
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
    ):
        setattr(step, keyword, "")
    ds.ScheduledProcedureStepSequence = ItemSequence([step])
    return ds


def _joined(found: list[Order]) -> list[Order]:
    """Return each requested procedure once.

    An order of several steps is one order still. Where one of them is an ECG's, that is the step;
    else it is not known which of them an ECG belongs to, and it is left out.
    """
    orders: dict[tuple[str, ...], Order] = {}
    for order in found:
        key = (
            order.patient_id,
            order.issuer_of_patient_id,
            order.accession_number,
            order.study_instance_uid,
            order.requested_procedure_id,
        )
        orders[key] = _one_step(orders[key], order) if key in orders else order
    return list(orders.values())


def _one_step(one: Order, other: Order) -> Order:
    if (one.modality == _ECG) != (other.modality == _ECG):
        return one if one.modality == _ECG else other
    if one.scheduled_step_id == other.scheduled_step_id:
        return one
    modality = one.modality if one.modality == other.modality else ""
    return replace(one, scheduled_step_id="", scheduled_step_description="", modality=modality)


def choose(typed: Order, orders: Sequence[Order]) -> Order:
    """Return the one order that was found, when it is of the patient that was typed."""
    asked = (
        f"accession number {typed.accession_number!r}"
        if typed.accession_number
        else f"patient ID {typed.patient_id!r}"
    )
    if not orders:
        raise NoMatch(f"the worklist has no order of {asked}: check it")
    if len(orders) > 1 and typed.patient_id:
        # Nobody is asked to choose among orders of others.
        orders = [order for order in orders if order.patient_id == typed.patient_id]
        if not orders:
            raise Mismatch(
                f"expected patient ID {typed.patient_id!r}, the worklist has several others for "
                f"{asked}: is it the right patient?"
            )
    if len(orders) > 1:
        accessions = [order.accession_number or "-" for order in orders]
        by = f"accession number ({', '.join(accessions)})"
        if len(set(accessions)) < len(accessions):
            by = "Study Instance UID or requested procedure"
        raise SeveralMatches(
            f"the worklist has {len(orders)} orders of {asked}: say which one, by its {by}", orders
        )
    (order,) = orders
    if not typed.accession_number and order.modality != _ECG:
        raise Mismatch(
            f"expected an order of an ECG, the worklist has one of modality "
            f"{order.modality or 'unknown'!r} for {asked}: give its accession number if the ECG "
            "was made for it"
        )
    for name, wanted, found in (
        ("patient ID", typed.patient_id, order.patient_id),
        ("birth date", typed.patient_birth_date, order.patient_birth_date),
        ("sex", typed.patient_sex, order.patient_sex),
    ):
        if wanted and found and wanted != found:
            raise Mismatch(
                f"expected {name} {wanted!r}, the worklist has {found!r} for {asked}: "
                "is it the right patient?"
            )
    if not order.patient_id:
        raise Mismatch(f"the worklist has no patient ID for {asked}: its order cannot be used")
    if typed.patient_name and not _same_name(typed.patient_name, order.patient_name):
        raise Mismatch(
            f"the patient's name is another than the worklist has for {asked}: "
            "is it the right patient? (The name may be left out; it is taken from the worklist.)"
        )
    return order


def _fits(typed: Order, order: Order) -> bool:
    if typed.accession_number:
        is_asked_for = order.accession_number == typed.accession_number
    else:
        is_asked_for = order.patient_id == typed.patient_id
    return (
        is_asked_for
        and typed.study_instance_uid in ("", order.study_instance_uid)
        and typed.requested_procedure_id in ("", order.requested_procedure_id)
    )


def _same_name(typed: str, found: str) -> bool:
    """Tell whether a typed name is one of the scripts of a found one, however it is spaced."""
    groups = {_plain(group) for group in found.split("=") if group.strip("^ ")}
    return all(_plain(group) in groups for group in typed.split("=") if group.strip("^ "))


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold().replace("^", " ").replace(",", " ")
    return " ".join(folded.split())
