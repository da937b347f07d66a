"""Findings -> reports in the spool, composed once, and for whom each of them is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from django.db import DatabaseError, IntegrityError, transaction

from dicom_node.errors import DicomError
from gateway import leases, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Dispatch, Instance, Peer, Report
from gateway.outputs import Language, Output, usual_outputs
from gateway.routing import Decision, Meant, Routing
from gateway.states import Event

log = structlog.get_logger(__name__)

Pair = tuple[Output, Language]

#: What is composed where nobody is known to send it to yet.
USUAL: tuple[Pair, ...] = tuple((Output(name), Language.ENGLISH) for name in usual_outputs())


def compose(batch: Sequence[Instance]) -> None:
    """Decide where the results of each leased, analysed row go, and compose what that needs.

    Building and encoding documents is as much work as finding the page and needs no network: it is
    the Courier's, in processes of their own, while the Analyst goes on with the next picture.
    """
    who, routing = actor("courier"), Routing()
    composed: list[tuple[Instance, Decision, list[Report]]] = []
    for instance in batch:
        try:
            decision = routing.decide(instance)
            composed.append((instance, decision, _write(instance, needed(decision))))
        except DicomError as error:
            _give_up(instance, error, who)
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            put_back(instance, error, who)
    try:
        with transaction.atomic():
            lost = [
                reports
                for instance, decision, reports in composed
                if not _record(instance, decision, reports, who)
            ]
    except DatabaseError as error:
        # The files stay: a commit that broke half way may have made the rows.
        log.error("left to their leases", rows=len(composed), error=repr(error))
        return
    for reports in lost:
        _remove(reports)


def needed(decision: Decision) -> tuple[Pair, ...]:
    """Return what has to be composed: what is meant for somebody, or the usual reports to wait."""
    return decision.pairs if decision.plan or decision.is_nowhere else USUAL


def provide(instance: Instance, pairs: Iterable[Pair]) -> dict[Pair, Report]:
    """Return the reports of `pairs`; those that do not exist yet are composed and kept.

    Raises
    ------
    DicomError
        The source cannot be reported on so; trying again cannot help.
    """
    wanted = tuple(dict.fromkeys(pairs))
    there = _reports(instance)
    if missing := [pair for pair in wanted if pair not in there]:
        written = _write(instance, missing)
        # Whoever composed the same meanwhile made the same bytes; one row of them stays.
        Report.objects.bulk_create(written, ignore_conflicts=True)
        there = _reports(instance)
        kept = {report.spool_name for report in there.values()}
        _remove(report for report in written if report.spool_name not in kept)
    return {pair: there[pair] for pair in wanted}


def dispatch(plan: Iterable[Meant], reports: dict[Pair, Report], *, rule: str) -> None:
    """Have each report of `plan` wait for its Peer, unless the Peer has it already.

    Called inside the transaction that writes why. A Peer that is gone meanwhile is left out.
    """
    plan = list(plan)
    peers = {meant.peer for meant in plan}
    known = set(Peer.objects.filter(pk__in=peers).values_list("pk", flat=True))
    rows = {
        (reports[meant.output, meant.language].pk, meant.peer): Dispatch(
            report=reports[meant.output, meant.language],
            peer_id=meant.peer,
            rule=rule,
            instead_of=meant.instead_of or "",
        )
        for meant in plan
        if meant.peer in known
    }
    if not rows:
        return
    Dispatch.objects.bulk_create(rows.values(), ignore_conflicts=True)
    ended = Dispatch.objects.filter(report__in=reports.values()).exclude(
        outcome__in=(Dispatch.Outcome.WAITING, Dispatch.Outcome.STORED)
    )
    again = [row.pk for row in ended if (row.report_id, row.peer_id) in rows]
    Dispatch.objects.filter(pk__in=again).update(outcome=Dispatch.Outcome.WAITING, ended_at=None)


def _reports(instance: Instance) -> dict[Pair, Report]:
    return {
        (Output(report.kind), Language(report.language)): report
        for report in Report.objects.filter(instance=instance)
    }


def _write(instance: Instance, pairs: Iterable[Pair]) -> list[Report]:
    """Compose reports and keep their bytes; the rows are not saved yet."""
    by_language: dict[Language, list[Output]] = defaultdict(list)
    for output, language in pairs:
        by_language[language].append(output)
    written: list[Report] = []
    for language, outputs in by_language.items():
        for output, (ds, content) in sources.reports_of(instance, outputs, language).items():
            spooled = spool.write(content)
            written.append(
                Report(
                    instance=instance,
                    kind=output,
                    language=language,
                    sop_instance_uid=ds.SOPInstanceUID,
                    sop_class_uid=ds.SOPClassUID,
                    sha256=spooled.sha256,
                    size_bytes=spooled.size_bytes,
                    spool_name=spooled.name,
                )
            )
    return written


def _record(instance: Instance, decision: Decision, reports: list[Report], who: str) -> bool:
    """Write what was composed and for whom; False when the row's lease was lost meanwhile."""
    rule = decision.rule.name if decision.rule else ""
    try:
        with transaction.atomic():
            Report.objects.bulk_create(reports)
            made = {(Output(r.kind), Language(r.language)): r for r in reports}
            dispatch(decision.plan, made, rule=rule)
            detail = f"routing rule {rule}" if rule else ""
            leases.advance(instance, Event.COMPOSE, actor=who, detail=detail)
    except (LeaseLost, IntegrityError) as error:
        # Whoever has the row now composes the same bytes, or has done so already.
        log.warning("lease lost", instance=instance.pk, error=repr(error))
        return False
    log.info("reported", instance=instance.pk, reports=len(reports), rule=rule)
    return True


def _remove(reports: Iterable[Report]) -> None:
    for report in reports:
        spool.remove(report.spool_name)


def _give_up(instance: Instance, error: DicomError, who: str) -> None:
    try:
        leases.give_up(instance, str(error), actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))
