"""What is composed for a plan: files in the spool, rows that nobody has saved yet.

What cannot be composed is replaced in the plan, so that one Peer's loss of a picture withholds no
words from anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog
from pydicom import Dataset

from dicom_node.errors import DicomError
from gateway import sources, spool
from gateway.models import Instance, Report, Review
from gateway.outputs import Language, Output, chain, usual_outputs
from gateway.routing import Decision, Meant

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


def draft_of(instance: Instance, decision: Decision) -> Draft:
    if decision.plan or decision.is_nowhere:
        return draft(instance, decision.plan, there=())
    reports, failures = write(instance, USUAL)
    for error in failures.values():
        remove(reports)
        raise error
    return Draft((), reports, {})


def draft(
    instance: Instance,
    plan: tuple[Meant, ...],
    there: Collection[Pair],
    review: Review | None = None,
) -> Draft:
    """Compose what `plan` needs and is not there; what cannot be is replaced in the plan.

    The reports are those of a review of the instance, or of the network's result.
    """
    reports: list[Report] = []
    failures: dict[Pair, DicomError] = {}
    done = set(there)
    while missing := dict.fromkeys(
        (meant.output, meant.language)
        for meant in plan
        if (meant.output, meant.language) not in done
    ):
        try:
            written, failed = write(instance, missing, review)
            reports += written
            done.update(missing)
            failures |= failed
            plan = adapt(plan, failures)
        except BaseException:
            remove(reports)
            raise
    return Draft(plan, reports, failures)


def write(
    instance: Instance, pairs: Iterable[Pair], review: Review | None = None
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
            documents = sources.reports_of(instance, outputs, language, review)
        except DicomError:
            # One of them cannot be made: each by itself tells which.
            for output in outputs:
                try:
                    documents |= sources.reports_of(instance, [output], language, review)
                except DicomError as error:
                    failures[output, language] = error
        for output, (ds, content) in documents.items():
            try:
                spooled = spool.write(content)
            except BaseException:
                remove(written)
                raise
            written.append(
                Report(
                    instance=instance,
                    review=review,
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


def remove(reports: Iterable[Report]) -> None:
    for report in reports:
        spool.remove(report.spool_name)
