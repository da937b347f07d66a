"""Findings -> reports in the spool, composed once, and for whom each of them is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import prefetch_related_objects

from dicom_node.errors import DicomError
from gateway import drafts, leases
from gateway.drafts import Draft, Pair
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Dispatch, Instance, Peer, Report, Review, Transition
from gateway.outputs import Language, Output
from gateway.routing import Decision, Meant, Routing
from gateway.states import Event

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Composed:
    """A leased row, where its result goes, and what was composed for that."""

    instance: Instance
    decision: Decision
    draft: Draft

    @property
    def rule(self) -> str:
        return self.decision.rule.name if self.decision.rule else ""

    def dispatches(self, peers: Collection[int]) -> list[Dispatch]:
        made = {(Output(r.kind), Language(r.language)): r for r in self.draft.reports}
        return _dispatches(self.draft.plan, made, peers, rule=self.rule)


def compose(batch: Sequence[Instance]) -> None:
    """Decide where the results of each leased, analysed row go, and compose what that needs.

    Building and encoding documents needs no network: it is the Courier's, in processes of their
    own, while the Analyst goes on with the next picture. As the Analyst, it has done all that takes
    time before the one transaction that writes the batch.
    """
    who, routing = actor("courier"), Routing()
    prefetch_related_objects(batch, "findings")
    composed: list[_Composed] = []
    for instance in batch:
        try:
            decision = routing.decide(instance)
            composed.append(_Composed(instance, decision, drafts.draft_of(instance, decision)))
        except DicomError as error:
            _give_up(instance, error, who)
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            put_back(instance, error, who)
    if not composed:
        return
    try:
        with transaction.atomic():
            lost = _record(composed, who)
    except DatabaseError as error:
        # The files stay: a commit that broke half way may have made the rows.
        log.error("left to their leases", rows=len(composed), error=repr(error))
        return
    for one in lost:
        drafts.remove(one.draft.reports)


def carry_out(
    instance: Instance, plan: Iterable[Meant], review: Review | None = None
) -> tuple[tuple[Meant, ...], dict[Pair, Report]]:
    """Return a plan that can be carried out, and its reports; those missing are composed and kept.

    Parameters
    ----------
    review
        The reports are those of this review of the instance; None: those of the network's result.

    Raises
    ------
    DicomError
        The source cannot be reported on so; trying again cannot help.
    """
    draft = drafts.draft(instance, tuple(plan), _reports(instance, review), review)
    return draft.plan, _keep(instance, draft.reports, review)


def provide(
    instance: Instance, pairs: Iterable[Pair], review: Review | None = None
) -> dict[Pair, Report]:
    """Return the reports of `pairs`; those that do not exist yet are composed and kept.

    As :func:`carry_out`, but nothing stands in for what cannot be composed.

    Raises
    ------
    DicomError
        The source cannot be reported on so; trying again cannot help.
    """
    wanted = tuple(dict.fromkeys(pairs))
    there = _reports(instance, review)
    missing = [pair for pair in wanted if pair not in there]
    written, failures = drafts.write(instance, missing, review)
    there = _keep(instance, written, review)
    for error in failures.values():
        raise error
    return {pair: there[pair] for pair in wanted}


def dispatch(plan: Iterable[Meant], reports: dict[Pair, Report], *, rule: str) -> None:
    """Have each report of `plan` wait for its Peer, unless the Peer has it already.

    Called inside the transaction that writes why. A Peer that is gone meanwhile is left out. What
    a person has withdrawn stays so.
    """
    plan = list(plan)
    rows = _dispatches(plan, reports, _known(plan), rule=rule)
    if not rows:
        return
    Dispatch.objects.bulk_create(rows, ignore_conflicts=True)
    pairs = {(row.report_id, row.peer_id) for row in rows}
    ended = Dispatch.objects.filter(
        report__in=reports.values(),
        outcome__in=(Dispatch.Outcome.REFUSED, Dispatch.Outcome.REPLACED),
    )
    again = [row.pk for row in ended if (row.report_id, row.peer_id) in pairs]
    Dispatch.objects.filter(pk__in=again).update(outcome=Dispatch.Outcome.WAITING, ended_at=None)


def _known(plan: Iterable[Meant]) -> set[int]:
    """Return the Peers of a plan that are still there."""
    peers = {meant.peer for meant in plan}
    return set(Peer.objects.filter(pk__in=peers).values_list("pk", flat=True)) if peers else set()


def _dispatches(
    plan: Iterable[Meant], reports: Mapping[Pair, Report], peers: Collection[int], *, rule: str
) -> list[Dispatch]:
    """Return unsaved rows, one for each report and Peer."""
    rows = {
        (reports[meant.output, meant.language].pk, meant.peer): Dispatch(
            report=reports[meant.output, meant.language],
            peer_id=meant.peer,
            rule=rule,
            instead_of=meant.instead_of or "",
        )
        for meant in plan
        if meant.peer in peers
    }
    return list(rows.values())


def _reports(instance: Instance, review: Review | None) -> dict[Pair, Report]:
    return {
        (Output(report.kind), Language(report.language)): report
        for report in Report.objects.filter(instance=instance, review=review)
    }


def _keep(
    instance: Instance, written: Sequence[Report], review: Review | None
) -> dict[Pair, Report]:
    """Save reports that were composed; return all that the instance or its review has."""
    if not written:
        return _reports(instance, review)
    # Whoever composed the same meanwhile made the same bytes; one row of them stays.
    Report.objects.bulk_create(written, ignore_conflicts=True)
    there = _reports(instance, review)
    kept = {report.spool_name for report in there.values()}
    drafts.remove(report for report in written if report.spool_name not in kept)
    return there


def _record(composed: Sequence[_Composed], who: str) -> list[_Composed]:
    """Write what was composed and for whom, all at once; return those whose lease was lost."""
    try:
        with transaction.atomic():
            return _write_rows(composed, who)
    except IntegrityError as error:
        for report in (report for one in composed for report in one.draft.reports):
            report.pk = None  # of the rows that were rolled back
        if len(composed) == 1:
            # Whoever has the row now composes the same bytes, or has done so already.
            log.warning("lease lost", instance=composed[0].instance.pk, error=repr(error))
            return list(composed)
    return [lost for one in composed for lost in _record([one], who)]


def _write_rows(composed: Sequence[_Composed], who: str) -> list[_Composed]:
    # Reports first: a row that was composed by somebody else meanwhile shows before any is moved.
    Report.objects.bulk_create(report for one in composed for report in one.draft.reports)
    lines: list[Transition] = []
    kept: list[_Composed] = []
    lost: list[_Composed] = []
    for one in composed:
        said = ([f"routing rule {one.rule}"] if one.rule else []) + one.draft.notes()
        try:
            detail = "; ".join(said)
            leases.advance(one.instance, Event.COMPOSE, actor=who, detail=detail, lines=lines)
        except LeaseLost as error:
            log.warning("lease lost", error=str(error))
            lost.append(one)
        else:
            kept.append(one)
            reports = len(one.draft.reports)
            log.info("reported", instance=one.instance.pk, reports=reports, rule=one.rule)
    if lost:
        rows = [report.pk for one in lost for report in one.draft.reports]
        Report.objects.filter(pk__in=rows).delete()
    peers = _known(meant for one in kept for meant in one.draft.plan)
    Dispatch.objects.bulk_create(row for one in kept for row in one.dispatches(peers))
    Transition.objects.bulk_create(lines)
    return lost


def _give_up(instance: Instance, error: DicomError, who: str) -> None:
    try:
        leases.give_up(instance, str(error), actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))
