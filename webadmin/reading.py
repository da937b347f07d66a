"""What a person says of an ECG becomes a row: one reading, and where they decided, a label.

The screens, commands and tests all judge through :func:`record`. A reading is never changed; who
errs reads again. What the network is asked for and a person says are the same ten findings, each in
one word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils.translation import gettext as _

from gateway import reviewing
from gateway.models import Finding, Instance, ModelVersion
from models.labels import KEYS
from webadmin import audit, curation, labelling
from webadmin.models import Assignment, Guideline, Label, Reading
from webadmin.queues import BLINDED
from webadmin.reading_list import next_for

__all__ = [
    "BLINDED",
    "VERIFY",
    "NotRecorded",
    "network_words",
    "next_for",
    "person_name",
    "record",
    "role_of",
    "unverifiable",
]

VERIFY: Final = "webadmin.verify_report"
_Decision = Reading.Decision
_DECIDED: Final = (_Decision.CONFIRMED, _Decision.OVERRIDDEN)
_WORDS: Final = {
    Finding.Verdict.PRESENT: Reading.Word.PRESENT,
    Finding.Verdict.ABSENT: Reading.Word.ABSENT,
    Finding.Verdict.UNDETERMINED: Reading.Word.UNDECIDED,
}
_DAY_S: Final = 86_400.0


class NotRecorded(ValueError):
    """What was said cannot be recorded; the text says why, to the reader."""


@transaction.atomic
def record(
    instance: Instance,
    reader: User,
    *,
    decision: str,
    role: str = "",
    findings: Mapping[str, str] | None = None,
    shown: ModelVersion | None = None,
    guideline: Guideline | None = None,
    assignment: Assignment | None = None,
    comment: str = "",
    took_s: float | None = None,
    verify: bool = False,
) -> Reading:
    """Write down one reading, and what follows from it, in one transaction.

    Parameters
    ----------
    instance, reader
        Which ECG, and who read it.
    decision
        Of :class:`Reading.Decision`. Confirmed and overridden are about the findings `shown`;
        blinded is for an assignment whose reader saw none.
    role
        Of the reader; by default as :func:`role_of` says.
    findings
        A word of :class:`Reading.Word` for each of the ten keys. Not needed to confirm; where the
        reader is undecided or the ECG cannot be read, all ten are undecided.
    shown
        Whose findings the reader saw.
    guideline
        The rules they read by; by default those in force.
    assignment
        The reading that was wanted, where one was: it is done then.
    comment
        At most 1000 characters.
    took_s
        Seconds the ECG was looked at.
    verify
        Also have a verified report composed and delivered in the reader's name.

    Raises
    ------
    NotRecorded
        The decision, the findings and what was shown do not fit each other, the assignment is
        done or somebody else's, or no report can be verified in this name.
    PermissionDenied
        The reader may not verify, or not adjudicate.
    """
    words = _findings(instance, decision, findings, shown)
    if assignment is not None:
        _take(assignment, instance, reader, shown)
    elif decision == _Decision.BLINDED:
        raise NotRecorded(_("This ECG was not assigned to be read blinded."))
    if verify:
        _may_verify(reader, decision, assignment)
    reading = Reading.objects.create(
        instance=instance,
        reader=reader,
        role=role or role_of(reader),
        decision=decision,
        findings=words,
        comment=_short(comment),
        shown=shown,
        guideline=guideline or Guideline.objects.first(),
        assignment=assignment,
        took_s=None if took_s is None else min(max(took_s, 0.0), _DAY_S),
    )
    audit.record(
        audit.Action.READ, actor=reader.get_username(), subject=instance,
        reading=reading.pk, decision=decision,
    )  # fmt: skip
    if assignment is None and decision in _DECIDED:
        _label(reading, reader)
    try:
        curation.after(reading)
    except curation.NotYours as error:
        raise NotRecorded(str(error)) from error
    if verify:
        _verify(reading, reader)
    return reading


def network_words(instance: Instance) -> dict[str, str]:
    """Return what the network of the reports found, in the words of people; empty: it found none.

    Undetermined is undecided.
    """
    rows = instance.findings.filter(model_version_id=instance.model_version_id)
    return {row.key: _WORDS[Finding.Verdict(row.verdict)].value for row in rows}


def role_of(reader: User) -> str:
    """Return the reader's roles at this time: their groups, with commas between."""
    groups = ", ".join(reader.groups.order_by("name").values_list("name", flat=True))
    return (groups or ("superuser" if reader.is_superuser else "staff"))[:64]


def person_name(reader: User) -> str:
    """Return a reader's name as a DICOM person name (PS3.5 section 6.2.1); empty: not known."""
    family, given = (_component(text) for text in (reader.last_name, reader.first_name))
    return f"{family}^{given}"[:64].rstrip("^") if family else ""


def unverifiable(reader: User) -> str:
    """Return why no report can be verified in this reader's name; empty where it can."""
    if not person_name(reader):
        return _("Your account has no family name; a verified report needs one.")
    if not settings.ECG_INSTITUTION:
        return _("ECG_INSTITUTION is not set; a verified report names the organization.")
    return ""


def _component(text: str) -> str:
    """One component of a person name, without what has a meaning in one."""
    return "".join(c for c in text if c.isprintable() and c not in "^=\\").strip()


def _short(comment: str) -> str:
    limit = 1000
    if len(comment) > limit:
        raise NotRecorded(_("Expected a comment of at most %d characters.") % limit)
    return comment.strip()


def _findings(
    instance: Instance,
    decision: str,
    findings: Mapping[str, str] | None,
    shown: ModelVersion | None,
) -> dict[str, str]:
    """Return the ten words of a reading, which fit its decision."""
    if decision not in _Decision.values:
        raise NotRecorded(
            f"expected a decision of {', '.join(_Decision.values)}; received {decision!r}"
        )
    if decision in (_Decision.UNDECIDED, _Decision.UNREADABLE):
        return dict(labelling.UNDECIDED)
    if decision == _Decision.BLINDED and shown is not None:
        raise NotRecorded("expected no findings shown at a blinded reading")
    if decision in _DECIDED and (shown is None or shown.pk != instance.model_version_id):
        raise NotRecorded(_("The findings have changed meanwhile: look at the ECG again."))
    said = network_words(instance) if decision in _DECIDED else {}
    words = said if decision == _Decision.CONFIRMED and findings is None else dict(findings or {})
    if set(words) != set(KEYS) or not set(words.values()) <= set(Reading.Word.values):
        raise NotRecorded(_("Say of each of the ten findings: present, absent or undecided."))
    if wrong := labelling.faults(words):
        raise NotRecorded(_("These findings do not go together: %s.") % "; ".join(wrong))
    if decision == _Decision.CONFIRMED and words != said:
        raise NotRecorded(_("What you say differs from the findings: override them instead."))
    if decision == _Decision.OVERRIDDEN and words == said:
        raise NotRecorded(_("Nothing differs from the findings: confirm them instead."))
    return {key: str(words[key]) for key in KEYS}


def _take(
    assignment: Assignment, instance: Instance, reader: User, shown: ModelVersion | None
) -> None:
    """Hold an assignment for the transaction, if it is still to be done by this reader."""
    row = Assignment.objects.select_for_update(no_key=True).get(pk=assignment.pk)
    if row.instance_id != instance.pk:
        raise NotRecorded("expected an assignment of this ECG")
    try:
        curation.check(row, reader)
    except curation.NotYours as error:
        raise NotRecorded(_("This is not yours to read: %s.") % error) from error
    if row.kind in BLINDED and shown is not None:
        raise NotRecorded("expected no findings shown at a blinded reading")
    if row.kind == Assignment.Kind.ADJUDICATION and not reader.has_perm(curation.ADJUDICATE):
        raise PermissionDenied


def _may_verify(reader: User, decision: str, assignment: Assignment | None) -> None:
    if not reader.has_perm(VERIFY):
        raise PermissionDenied
    if assignment is not None or decision not in _DECIDED:
        raise NotRecorded(_("Only findings that were confirmed or overridden can be verified."))
    if reason := unverifiable(reader):
        raise NotRecorded(reason)


def _verify(reading: Reading, reader: User) -> None:
    """Order a verified report of a reading, in the reader's name."""
    try:
        review = reviewing.order(
            reading.instance,
            findings=reading.findings,
            comment=reading.comment,
            verifier_name=person_name(reader),
            verifier_id=reader.get_username()[:64],
            organization=settings.ECG_INSTITUTION,
        )
    except (reviewing.NotReviewable, ValueError) as error:
        raise NotRecorded(_("It cannot be verified: %s.") % error) from error
    audit.record(
        audit.Action.VERIFIED, actor=reader.get_username(), subject=reading.instance,
        reading=reading.pk, review=review.number,
    )  # fmt: skip


def _label(reading: Reading, reader: User) -> None:
    """Make one reader's word the label, unless it is settled."""
    holds = labelling.label_of(reading.instance)
    if holds is None or holds.source not in Label.SETTLED:
        labelling.write(
            reading.instance,
            reading.findings,
            source=Label.Source.SINGLE,
            decided_by=reader,
            readings=[reading],
            comment=reading.comment,
        )
