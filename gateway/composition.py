"""Findings -> reports in the spool, composed once, and for whom each of them is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import prefetch_related_objects
from pydicom import Dataset

from dicom_node.errors import DicomError
from gateway import leases, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Dispatch, Instance, Peer, Report, Transition
from gateway.outputs import Language, Output, chain, usual_outputs
from gateway.routing import Decision, Meant, Routing
from gateway.states import Event

log = structlog.get_logger(__name__)

Pair = tuple[Output, Language]

#: What is composed where nobody is known to send it to yet.
USUAL: tuple[Pair, ...] = tuple((Output(name), Language.ENGLISH) for name in usual_outputs())


@dataclass(frozen=True)
class Draft:
    """What was composed, for whom, and what could not be composed. No row is saved yet."""

    plan: tuple[Meant, ...]
    reports: list[Report]
    failures: Mapping[Pair, DicomError]

    def notes(self) -> list[str]:
        """Say what is missing, and why."""
        return [
            f"no {output.label} ({language.label}): {error}"
            for (output, language), error in self.failures.items()
        ]


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

    Building and encoding documents is as much work as finding the page and needs no network: it is
    the Courier's, in processes of their own, while the Analyst goes on with the next picture.
    """
    who, routing = actor("courier"), Routing()
    prefetch_related_objects(batch, "findings")
    composed: list[_Composed] = []
    for instance in batch:
        try:
            decision = routing.decide(instance)
            composed.append(_Composed(instance, decision, _draft_of(instance, decision)))
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
        _remove(one.draft.reports)


def carry_out(
    instance: Instance, plan: Iterable[Meant]
) -> tuple[tuple[Meant, ...], dict[Pair, Report]]:
    """Return a plan that can be carried out, and its reports; those missing are composed and kept.

    Raises
    ------
    DicomError
        The source cannot be reported on so; trying again cannot help.
    """
    draft = _draft(instance, tuple(plan), there=_reports(instance))
    return draft.plan, _keep(instance, draft.reports)


def provide(instance: Instance, pairs: Iterable[Pair]) -> dict[Pair, Report]:
    """Return the reports of `pairs`; those that do not exist yet are composed and kept.

    Raises
    ------
    DicomError
        The source cannot be reported on so; trying again cannot help.
    """
    wanted = tuple(dict.fromkeys(pairs))
    there = _reports(instance)
    written, failures = _write(instance, [pair for pair in wanted if pair not in there])
    there = _keep(instance, written)
    for error in failures.values():
        raise error
    return {pair: there[pair] for pair in wanted}


def adapt(plan: Iterable[Meant], failures: Mapping[Pair, DicomError]) -> tuple[Meant, ...]:
    """Mean the next of the chain, at last Basic Text, for what cannot be composed.

    What nothing can be drawn for (no font, pixels that do not decode) is one Peer's loss of a
    picture, and withholds no words from it or from anybody else.

    Raises
    ------
    DicomError
        Nothing of the chain can be composed.
    """
    plan = tuple(plan)
    kept = [meant for meant in plan if (meant.output, meant.language) not in failures]
    taken = {(meant.peer, meant.output, meant.language) for meant in kept}
    for meant in plan:
        if (meant.output, meant.language) not in failures:
            continue
        following = (*chain(meant.output)[1:], Output.BASIC_TEXT)
        found = next((o for o in following if (o, meant.language) not in failures), None)
        if found is None:
            raise failures[meant.output, meant.language]
        # What the Peer gets anyhow needs no second line.
        if (meant.peer, found, meant.language) not in taken:
            taken.add((meant.peer, found, meant.language))
            kept.append(replace(meant, output=found, instead_of=meant.instead_of or meant.output))
    return tuple(kept)


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


def _reports(instance: Instance) -> dict[Pair, Report]:
    return {
        (Output(report.kind), Language(report.language)): report
        for report in Report.objects.filter(instance=instance)
    }


def _draft_of(instance: Instance, decision: Decision) -> Draft:
    if decision.plan or decision.is_nowhere:
        return _draft(instance, decision.plan, there=())
    reports, failures = _write(instance, USUAL)
    for error in failures.values():
        _remove(reports)
        raise error
    return Draft((), reports, {})


def _draft(instance: Instance, plan: tuple[Meant, ...], there: Collection[Pair]) -> Draft:
    """Compose what `plan` needs and is not there; what cannot be is replaced in the plan."""
    reports: list[Report] = []
    failures: dict[Pair, DicomError] = {}
    done = set(there)
    while missing := dict.fromkeys(
        (meant.output, meant.language)
        for meant in plan
        if (meant.output, meant.language) not in done
    ):
        written, failed = _write(instance, missing)
        reports += written
        done.update(missing)
        failures |= failed
        try:
            plan = adapt(plan, failures)
        except DicomError:
            _remove(reports)
            raise
    return Draft(plan, reports, failures)


def _write(
    instance: Instance, pairs: Iterable[Pair]
) -> tuple[list[Report], dict[Pair, DicomError]]:
    """Compose reports and keep their bytes; the rows are not saved yet."""
    by_language: dict[Language, list[Output]] = defaultdict(list)
    for output, language in pairs:
        by_language[language].append(output)
    written: list[Report] = []
    failures: dict[Pair, DicomError] = {}
    for language, outputs in by_language.items():
        documents: dict[Output, tuple[Dataset, bytes]] = {}
        try:
            documents = sources.reports_of(instance, outputs, language)
        except DicomError:
            # One of them cannot be made: each by itself tells which.
            for output in outputs:
                try:
                    documents |= sources.reports_of(instance, [output], language)
                except DicomError as error:
                    failures[output, language] = error
        for output, (ds, content) in documents.items():
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
    for (output, language), failure in failures.items():
        said = {"output": output, "language": language, "error": str(failure)}
        log.error("not composed", instance=instance.pk, **said)
    return written, failures


def _keep(instance: Instance, written: Sequence[Report]) -> dict[Pair, Report]:
    """Save reports that were composed; return all that the instance has."""
    if not written:
        return _reports(instance)
    # Whoever composed the same meanwhile made the same bytes; one row of them stays.
    Report.objects.bulk_create(written, ignore_conflicts=True)
    there = _reports(instance)
    kept = {report.spool_name for report in there.values()}
    _remove(report for report in written if report.spool_name not in kept)
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


def _remove(reports: Iterable[Report]) -> None:
    for report in reports:
        spool.remove(report.spool_name)


def _give_up(instance: Instance, error: DicomError, who: str) -> None:
    try:
        leases.give_up(instance, str(error), actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))
