"""What is still meant for whom when a reported row is taken up: Peers, rules and people change.

Decided once is decided, with these exceptions. A row for which nothing is meant (no destination
when it was composed, or a person has withdrawn all) is routed as the tables are now. And what was
refused for good is meant anew when a person has set the row going again, as the Peer is now.

What is meant for a Peer that receives no reports now waits until it does again: a Peer that is
switched off for an hour loses nothing. That it is off for good, only a person can say
(:func:`withdraw`).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node.errors import DicomError
from gateway import composition, leases, reviewing, routing
from gateway.leases import LeaseLost, put_back
from gateway.models import Dispatch, Instance, Peer, Review
from gateway.outputs import Language, Output
from gateway.routing import Decision, Meant, Routing
from gateway.states import Event, State

log = structlog.get_logger(__name__)

NO_DESTINATION = "no destination Peer: manage.py peer add TITLE HOST PORT --destination"
LIVE = (Dispatch.Outcome.WAITING, Dispatch.Outcome.STORED, Dispatch.Outcome.REPLACED)


def settle(batch: Sequence[Instance], who: str) -> list[Instance]:
    """Bring the Dispatches of leased, reported rows up to date; return the rows to go on with."""
    rows: dict[int, list[Dispatch]] = defaultdict(list)
    found = Dispatch.objects.filter(report__instance__in=batch).select_related(
        "report__review", "peer"
    )
    for row in found.order_by("pk"):
        rows[row.report.instance_id].append(row)
    # Most batches need no tables at all, and none needs them twice.
    tables = functools.cache(Routing)
    reviews = reviewing.uncomposed(batch)
    ready = []
    for instance in batch:
        try:
            if _settle(instance, rows[instance.pk], who, tables):
                for review in reviews.get(instance.pk, ()):
                    reviewing.compose(instance, review)
                ready.append(instance)
        except LeaseLost as lost:
            log.warning("lease lost", error=str(lost))
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            trouble(instance, error, who)
    return ready


def trouble(instance: Instance, error: Exception, who: str) -> None:
    """Give a row up, or put it back, by whether trying again can help."""
    if not isinstance(error, DicomError) or error.retryable:
        put_back(instance, error, who)
        return
    try:
        leases.give_up(instance, str(error), actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))


def replace(dispatch: Dispatch, instance: Instance, output: Output) -> None:
    """Mean another report for the Peer of `dispatch`, in its language, instead of the refused one.

    Raises
    ------
    DicomError
        The source cannot be reported on so.
    """
    language = Language(dispatch.report.language)
    wanted = Output(dispatch.instead_of or dispatch.report.kind)
    reports = composition.provide(instance, [(output, language)], dispatch.report.review)
    meant = Meant(dispatch.peer_id, output, language, instead_of=wanted)
    with transaction.atomic():
        composition.dispatch([meant], reports, rule=dispatch.rule)
        _end([dispatch], Dispatch.Outcome.REPLACED)


def withdraw(rows: Iterable[Dispatch]) -> int:
    """Mean these no longer, for a person says so; return how many had not ended yet.

    Their row is looked at again at once.
    """
    open_ones = Dispatch.objects.filter(
        pk__in=[row.pk for row in rows],
        outcome__in=(Dispatch.Outcome.WAITING, Dispatch.Outcome.REFUSED),
    )
    with transaction.atomic():
        instances = set(open_ones.values_list("report__instance", flat=True))
        changed = open_ones.update(outcome=Dispatch.Outcome.WITHDRAWN, ended_at=timezone.now())
        Instance.objects.filter(pk__in=instances, state=State.REPORTED).update(
            not_before=timezone.now()
        )
    return changed


def _settle(
    instance: Instance, rows: list[Dispatch], who: str, tables: Callable[[], Routing]
) -> bool:
    refused = [row for row in rows if row.outcome == Dispatch.Outcome.REFUSED]
    back = {(row.peer_id, row.report.review_id): row for row in refused if row.peer.is_destination}
    # The network's reports first: those of a review name what they replace.
    for key, one in sorted(back.items(), key=lambda pair: reviewing.number_of(pair[1])):
        same = [row for row in rows if (row.peer_id, row.report.review_id) == key]
        _mean_anew(instance, one.peer, same, one.report.review)
    if off := [row.pk for row in refused if not row.peer.is_destination]:
        Dispatch.objects.filter(pk__in=off, outcome=Dispatch.Outcome.REFUSED).update(
            outcome=Dispatch.Outcome.WAITING, ended_at=None
        )
    if refused or any(row.outcome in LIVE for row in rows):
        return True
    return _route(instance, who, tables())


def _mean_anew(
    instance: Instance, peer: Peer, rows: Collection[Dispatch], review: Review | None
) -> None:
    """Mean for a Peer what was once wanted for it, as it is now."""
    receiver = routing.receiver(peer)
    by_language: dict[Language, list[Output]] = defaultdict(list)
    for row in rows:
        if row.outcome != Dispatch.Outcome.WITHDRAWN:
            wanted = Output(row.instead_of or row.report.kind)
            by_language[Language(row.report.language)].append(wanted)
    plan = [
        Meant(peer.pk, meant.output, language, meant.instead_of)
        for language, outputs in by_language.items()
        for meant in routing.meant_for(receiver, dict.fromkeys(outputs))
    ]
    feasible, reports = composition.carry_out(instance, plan, review)
    pairs = {(meant.output, meant.language) for meant in feasible}
    superfluous = [
        row
        for row in rows
        if row.outcome not in (Dispatch.Outcome.STORED, Dispatch.Outcome.WITHDRAWN)
        and (Output(row.report.kind), Language(row.report.language)) not in pairs
    ]
    with transaction.atomic():
        _end(superfluous, Dispatch.Outcome.REPLACED)
        composition.dispatch(feasible, reports, rule=next((row.rule for row in rows), ""))


def _route(instance: Instance, who: str, tables: Routing) -> bool:
    """Decide for a row for which nothing is meant; False when there is nothing to send."""
    decision = tables.decide(instance)
    rule = decision.rule.name if decision.rule else ""
    if decision.is_nowhere:
        detail = f"nothing was sent: routing rule {rule} has no destination"
        with transaction.atomic():
            leases.advance(instance, Event.DELIVER, actor=who, detail=detail)
            reviewing.sent_nowhere(instance)
        log.info("sent nowhere", instance=instance.pk, rule=rule)
        return False
    if not decision.plan:
        leases.wait_for_configuration(instance, _missing(decision))
        return False
    plan, reports = composition.carry_out(instance, decision.plan)
    with transaction.atomic():
        composition.dispatch(plan, reports, rule=rule)
    return True


def _missing(decision: Decision) -> str:
    if decision.rule is None:
        return NO_DESTINATION
    return f"routing rule {decision.rule.name}: none of its Peers receives reports now"


def _end(rows: Sequence[Dispatch], outcome: Dispatch.Outcome) -> None:
    """End Dispatches that were not stored meanwhile."""
    if not rows:
        return
    Dispatch.objects.filter(pk__in=[row.pk for row in rows]).exclude(
        outcome=Dispatch.Outcome.STORED
    ).update(outcome=outcome, ended_at=timezone.now())
    for row in rows:
        row.outcome = outcome
