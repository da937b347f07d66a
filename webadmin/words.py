"""The colours and short words of states, verdicts and findings; the same on every screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from gateway.models import (
    Alert,
    Association,
    Commitment,
    CustodyRequest,
    Delivery,
    Dispatch,
    Finding,
)
from gateway.models.peers import Proof
from gateway.states import State
from models.labels import LABELS

NOTICE = gettext_lazy("AI result, unverified")
"""Said wherever findings are shown; the reports say it too."""


@dataclass(frozen=True)
class Badge:
    """A coloured word. `tone` names the colour, `icon` repeats it as a shape."""

    text: str
    tone: str
    icon: str = ""
    title: str = ""


_STATES = {
    State.RECEIVED: ("progress", "inbox"),
    State.ANALYSED: ("progress", "neurology"),
    State.REPORTED: ("progress", "description"),
    State.DELIVERED: ("good", "check_circle"),
    State.PROVEN: ("good", "verified"),
    State.REJECTED: ("quiet", "block"),
    State.FAILED: ("bad", "error"),
    State.SET_ASIDE: ("warn", "content_copy"),
}
_DELIVERIES = {
    Delivery.Outcome.STORED: ("good", "check_circle"),
    Delivery.Outcome.WARNING: ("warn", "warning"),
    Delivery.Outcome.RETRY: ("progress", "schedule"),
    Delivery.Outcome.REFUSED: ("bad", "error"),
}
_DISPATCHES = {
    Dispatch.Outcome.WAITING: ("progress", "schedule"),
    Dispatch.Outcome.STORED: ("good", "check_circle"),
    Dispatch.Outcome.REPLACED: ("quiet", "swap_horiz"),
    Dispatch.Outcome.REFUSED: ("bad", "error"),
    Dispatch.Outcome.WITHDRAWN: ("quiet", "block"),
}
_COMMITMENTS = {
    Commitment.Outcome.ASKED: ("progress", "schedule"),
    Commitment.Outcome.COMMITTED: ("good", "verified"),
    Commitment.Outcome.PARTLY: ("warn", "warning"),
    Commitment.Outcome.REFUSED: ("quiet", "block"),
    Commitment.Outcome.UNANSWERED: ("warn", "hourglass_disabled"),
}
_CUSTODY = {
    CustodyRequest.Outcome.WAITING: ("progress", "schedule"),
    CustodyRequest.Outcome.ANSWERED: ("good", "check_circle"),
    CustodyRequest.Outcome.FAILED: ("bad", "error"),
}
_NOT_KEPT = {
    0x0112: gettext_noop("no such object here"),
    0x0119: gettext_noop("it is of another SOP Class"),
    0x0110: gettext_noop(
        "its bytes have changed or cannot be read, or another object of its UID is set aside"
    ),
}
"""The Failure Reasons that we give (PS3.3 section C.14.1.1)."""
_ALERTS = {
    Alert.Outcome.WAITING: ("progress", "schedule"),
    Alert.Outcome.SENT: ("good", "check_circle"),
    Alert.Outcome.FAILED: ("bad", "error"),
    Alert.Outcome.WITHDRAWN: ("quiet", "block"),
}
_ASSOCIATIONS = {
    Association.Outcome.ACCEPTED: ("progress", "sync_alt"),
    Association.Outcome.RELEASED: ("good", "check_circle"),
    Association.Outcome.REJECTED: ("warn", "block"),
    Association.Outcome.ABORTED: ("bad", "error"),
}
_VERDICTS = {
    Finding.Verdict.PRESENT: ("bad", "radio_button_checked"),
    Finding.Verdict.UNDETERMINED: ("warn", "help"),
    Finding.Verdict.ABSENT: ("quiet", "radio_button_unchecked"),
}

MEANINGS = {label.key: gettext_lazy(label.meaning) for label in LABELS}
SHORT = {
    "normal": gettext_lazy("Normal"),
    "pvc": gettext_lazy("PVC"),
    "preexcitation": gettext_lazy("Pre-excitation"),
    "clbbb": gettext_lazy("LBBB"),
    "crbbb": gettext_lazy("RBBB"),
    "af": gettext_lazy("AF"),
    "afl": gettext_lazy("Flutter"),
    "atrial_escape": gettext_lazy("Atrial escape"),
    "pac": gettext_lazy("PAC"),
    "at": gettext_lazy("Atrial tachycardia"),
}
"""What fits in a list; the full meaning stands beside it as a title."""

FAILED_IN = {
    State.RECEIVED: gettext_lazy("it could not be analysed"),
    State.ANALYSED: gettext_lazy("its reports could not be written"),
    State.REPORTED: gettext_lazy("its reports could not be delivered"),
}
"""What a person should know of an instance that failed in a state."""


def state(value: str) -> Badge:
    """Return the badge of an instance's state."""
    known = State(value)
    return Badge(str(known.label).split(" (")[0], *_STATES[known], title=str(known.label))


def delivery(value: str) -> Badge:
    """Return the badge of a delivery's outcome."""
    known = Delivery.Outcome(value)
    return Badge(str(known.label), *_DELIVERIES[known])


def dispatch(value: str) -> Badge:
    """Return the badge of how a dispatch ended."""
    known = Dispatch.Outcome(value)
    return Badge(str(known.label), *_DISPATCHES[known])


def proof(row: Dispatch) -> Badge | None:
    """Return the badge of whether a Peer has shown that it keeps a report; None: not stored."""
    if row.outcome != Dispatch.Outcome.STORED:
        return None
    if row.proven_at is not None:
        return Badge(_("Proven"), "good", "verified", _("by %s") % row.get_proven_by_display())
    if row.peer.proof == Proof.NONE:
        return Badge(_("Not asked"), "quiet", "remove", _("this Peer is not asked for proof"))
    tone = "warn" if row.proof_error or row.proof_due_at is None else "progress"
    return Badge(_("Unproven"), tone, "pending", row.proof_error)


def commitment(value: str) -> Badge:
    """Return the badge of what became of a request to a Peer."""
    known = Commitment.Outcome(value)
    return Badge(str(known.label), *_COMMITMENTS[known])


def custody(row: CustodyRequest) -> Badge:
    """Return the badge of what became of a sender's request."""
    known = CustodyRequest.Outcome(row.outcome)
    if known is CustodyRequest.Outcome.ANSWERED and row.failures:
        return Badge(_("Answered, not all kept"), "warn", "warning")
    if known is CustodyRequest.Outcome.FAILED and not row.attempts:
        return Badge(_("Refused"), "bad", "block", _("it was refused when it came"))
    return Badge(str(known.label), *_CUSTODY[known])


def kept(reason: int | None, *, was_told: bool) -> Badge:
    """Return the badge of one object of a request, by the reason why it is not kept."""
    if reason is not None:
        why = _(_NOT_KEPT[reason]) if reason in _NOT_KEPT else ""
        return Badge(_("Not kept"), "warn", "warning", f"{why} (0x{reason:04X})".strip())
    if was_told:
        return Badge(_("Kept"), "good", "verified")
    return Badge(_("Not told yet"), "quiet", "schedule")


def alert(value: str) -> Badge:
    """Return the badge of what became of an alert."""
    known = Alert.Outcome(value)
    return Badge(str(known.label), *_ALERTS[known])


def association(value: str) -> Badge:
    """Return the badge of an association's outcome."""
    known = Association.Outcome(value)
    return Badge(str(known.label).split(",")[0], *_ASSOCIATIONS[known], title=str(known.label))


def verdict(key: str, value: str) -> Badge:
    """Return the badge of a verdict; a normal ECG that is present is good news."""
    known = Finding.Verdict(value)
    tone, icon = _VERDICTS[known]
    if key == "normal" and known is Finding.Verdict.PRESENT:
        tone = "good"
    return Badge(str(known.label), tone, icon)


def said(findings: Mapping[str, str]) -> list[str]:
    """Return what a person said of an ECG, in short: what is present, and what is undecided."""
    short = [str(SHORT[key]) for key in SHORT if findings.get(key) == "present"]
    short += [f"{SHORT[key]}?" for key in SHORT if findings.get(key) == "undecided"]
    return short or [_("none of the ten")]


def finding(row: Finding) -> Badge:
    """Return a finding as one coloured word for a list, its certainty in the title."""
    seen = verdict(row.key, row.verdict)
    text = str(SHORT.get(row.key, row.key))
    if row.verdict == Finding.Verdict.UNDETERMINED:
        text = f"{text}?"
    title = f"{MEANINGS.get(row.key, row.key)}: {seen.text.lower()}, {row.probability:.1%}"
    return Badge(text, seen.tone, seen.icon, title)
