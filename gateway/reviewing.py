"""What a person verified of an ECG is reported as well: verified, beside the network's reports.

A review is a row, and the ECG goes its way again for the sake of it alone: its verified reports
are composed when a Courier takes it up, and wait for every Peer that got the network's reports, or
is to get them. Those stay as they are, and go first wherever they still wait: a verified report
names the one that it replaces, which has to be there to be found.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from gateway import composition, doorbell, leases
from gateway.models import Dispatch, Instance, Review
from gateway.outputs import Language, Output
from gateway.precedence import PATIENCE_S
from gateway.routing import Meant
from gateway.states import WAITING, Event, IllegalTransition, State, follow
from models.labels import KEYS

log = structlog.get_logger(__name__)

ANSWERS: Final = ("present", "absent", "undecided")
"""What a person may say of a finding."""

_LONGEST: Final = {"comment": 1000, "verifier_name": 300, "verifier_id": 64, "organization": 64}


class NotReviewable(RuntimeError):
    """There is nothing of this ECG that a review could be a review of; the message says why."""


def order(
    instance: Instance,
    *,
    findings: Mapping[str, str],
    comment: str = "",
    verifier_name: str,
    verifier_id: str = "",
    organization: str,
) -> Review:
    """Have the verified reports of an ECG composed and delivered; return the review.

    Parameters
    ----------
    findings
        Of all ten keys: present, absent or undecided.
    comment
        At most 1000 characters.
    verifier_name
        Of the person who answers for it, as a DICOM person name (``Family^Given``).
    verifier_id
        What the organization knows the person by, at most 64 characters; empty: nothing.
    organization
        On whose behalf, at most 64 characters.

    Raises
    ------
    NotReviewable
        It was never analysed, is no ECG that we read, is set aside, or its bytes have aged out.
    ValueError
        A finding is missing or has no such answer; a text is empty or cannot be written in a
        DICOM object.
    """
    _check(findings)
    texts = {
        "comment": comment.strip(),
        "verifier_name": verifier_name.strip(),
        "verifier_id": verifier_id.strip(),
        "organization": organization.strip(),
    }
    _check_texts(texts)
    with transaction.atomic():
        # Locked, so that a Courier that is about to end with it sees the review, or we its end.
        row = Instance.objects.select_for_update().get(pk=instance.pk)
        _require(row)
        review = Review.objects.create(
            instance=row,
            number=row.reviews.count() + 1,
            findings={key: findings[key] for key in KEYS},
            **texts,
        )
        _set_going(row, review)
        transaction.on_commit(lambda: doorbell.ring(row.pk, State(row.state)), robust=True)
    log.info("reviewed", instance=row.pk, review=review.number)
    return review


def uncomposed(batch: Iterable[Instance]) -> dict[int, list[Review]]:
    """Return the reviews of instances that no reports were composed of yet, first to last."""
    found: dict[int, list[Review]] = defaultdict(list)
    for review in Review.objects.filter(instance__in=batch, composed_at=None).order_by("number"):
        found[review.instance_id].append(review)
    return found


def compose(instance: Instance, review: Review) -> None:
    """Compose the reports of a review of a leased row, for the Peers of the network's reports.

    Raises
    ------
    DicomError, OSError
        They cannot be composed; trying again helps, or does not.
    """
    meant = Dispatch.objects.filter(
        report__instance=instance,
        report__review=None,
        outcome__in=(Dispatch.Outcome.WAITING, Dispatch.Outcome.STORED),
    )
    rows = list(meant.select_related("report").order_by("pk"))
    plan = [
        Meant(
            row.peer_id,
            Output(row.report.kind),
            Language(row.report.language),
            Output(row.instead_of) if row.instead_of else None,
        )
        for row in rows
    ]
    feasible, reports = composition.carry_out(instance, plan, review)
    with transaction.atomic():
        # Decided once, though two of us may have composed the same bytes.
        if _close(Review.objects.filter(pk=review.pk)):
            rule = next((row.rule for row in rows), "")
            composition.dispatch(feasible, reports, rule=rule)
    log.info("review reported", instance=instance.pk, review=review.number, reports=len(reports))


def sent_nowhere(instance: Instance) -> None:
    """Nobody is to get the reports of an instance: there are none to compose of its reviews."""
    _close(Review.objects.filter(instance=instance))


def go_on(instances: Collection[int]) -> None:
    """Set instances going that were reviewed while somebody worked on them.

    Called in the transaction that has just let them go, after that: whoever orders a review now
    waits for it, and sees where they stand.
    """
    for review in Review.objects.filter(instance__in=instances, composed_at=None):
        row = Instance.objects.select_for_update().get(pk=review.instance_id)
        if row.state in WAITING:
            Instance.objects.filter(pk=row.pk).update(not_before=timezone.now())
        else:
            _set_going(row, review)


def number_of(row: Dispatch) -> int:
    """Return the number of the review that a Dispatch is of; 0: of the network's result."""
    return 0 if row.report.review is None else row.report.review.number


def predecessors_first(
    rows: Sequence[Dispatch], instances: Mapping[int, Instance]
) -> list[Dispatch]:
    """Return those of `rows`, all that may still go to one Peer, that replace none of the others.

    What the Peer has turned down again and again holds back what replaces it for no longer than it
    would hold back another ECG.

    Parameters
    ----------
    rows
        With their reports and the reviews of these.
    instances
        The instances of the reports, by primary key.
    """
    impatient = timezone.now() - datetime.timedelta(seconds=PATIENCE_S)
    first: dict[int, int] = {}
    for row in rows:
        key, number = row.report.instance_id, number_of(row)
        owner = instances[key]
        if owner.attempts <= 1 or owner.state_since >= impatient:
            first[key] = min(first.get(key, number), number)
    return [
        row for row in rows if number_of(row) == first.get(row.report.instance_id, number_of(row))
    ]


def _close(reviews: QuerySet[Review]) -> int:
    return reviews.filter(composed_at=None).update(composed_at=timezone.now())


def _check(findings: Mapping[str, str]) -> None:
    if set(findings) != set(KEYS):
        raise ValueError(f"expected {', '.join(KEYS)}; received {', '.join(sorted(findings))}")
    for key, answer in findings.items():
        if answer not in ANSWERS:
            raise ValueError(f"{key}: expected {', '.join(ANSWERS)}; received {answer!r}")


def _check_texts(texts: Mapping[str, str]) -> None:
    """Refuse what no attribute of its VR could hold (PS3.5 section 6.2); nothing is quoted."""
    for name, text in texts.items():
        if len(text) > _LONGEST[name]:
            raise ValueError(f"{name}: expected at most {_LONGEST[name]} characters")
        if name == "comment":
            continue
        if any(ord(character) < 0x20 or character in "\\\x7f" for character in text):
            raise ValueError(f"{name}: expected no control character and no backslash")
    for name in ("verifier_name", "organization"):
        if not texts[name].strip("^= "):
            raise ValueError(f"{name}: expected a text, for a verified report names both")
    groups = texts["verifier_name"].split("=")
    if len(groups) > 3 or any(len(group) > 64 or group.count("^") > 4 for group in groups):
        raise ValueError("verifier_name: expected up to three groups of at most 64 characters")


def _require(row: Instance) -> None:
    state = State(row.failed_in) if row.state == State.FAILED else State(row.state)
    try:
        follow(state, Event.REVIEW)
    except IllegalTransition:
        what = f"it is {State(row.state).label.lower()}"
        if row.state == State.FAILED:
            what += f" as {state.label.lower()}"
        raise NotReviewable(
            f"expected an ECG that was analysed; {what}: a review is one of findings"
        ) from None
    if row.aged_out_at or row.reports.filter(aged_out_at__isnull=False).exists():
        raise NotReviewable(
            "expected an ECG whose bytes are here; they were removed by the retention policy, "
            "and nothing can be composed of it"
        )


def _set_going(row: Instance, review: Review) -> None:
    """Let a row be taken up for a review, in the transaction that has locked it.

    Whoever holds it keeps it, and looks for reviews when the work is done. That somebody verifies
    an ECG that had failed is what it waited for: it is resumed.
    """
    actor, detail = leases.actor("reader"), f"review {review.number}"
    if row.state == State.FAILED:
        leases.resume(row, actor=actor, detail=detail)
        return
    origin, now = State(row.state), timezone.now()
    target = follow(origin, Event.REVIEW)
    changes: dict[str, Any] = {"not_before": now}
    if target != origin:
        changes |= {"state": target, "state_since": now, "attempts": 0, "last_error": ""}
        changes |= {"lease_token": None, "lease_expires_at": None}
    Instance.objects.filter(pk=row.pk).update(**changes)
    row.state = target
    leases.append_transition(
        row, origin, target, event=Event.REVIEW, actor=actor, detail=detail, at=now
    )
