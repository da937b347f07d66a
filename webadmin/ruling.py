"""Which rule would fire on an ECG that is here, and why the others would not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from dicom_node.errors import DicomError
from gateway import routing
from gateway.models import Dispatch, Instance, Peer, Rule
from webadmin import words

MATCHES_SHOWN = 20


@dataclass(frozen=True)
class Verdict:
    """One rule held against one ECG."""

    row: Rule
    badge: words.Badge
    checks: tuple[routing.Check, ...]


@dataclass(frozen=True)
class Line:
    """One report that would be sent."""

    peer: Peer
    output: str
    language: str
    instead_of: str
    is_spent: bool


def answer(asked: str) -> dict[str, Any]:
    """Return what the page of the test shows for what a person asked for.

    Parameters
    ----------
    asked
        An accession number, a UID of ECG or study, or the number of an ECG; empty: nothing yet.
    """
    found = list(_find(asked)[: MATCHES_SHOWN + 1]) if asked else []
    if len(found) != 1:
        matches = [(row, words.state(row.state)) for row in found[:MATCHES_SHOWN]]
        return {"matches": matches, "has_more": len(found) > MATCHES_SHOWN}
    (instance,) = found
    context: dict[str, Any] = {"instance": instance, "badge": words.state(instance.state)}
    try:
        facts = routing.facts_of(instance)
    except (DicomError, OSError) as error:
        return {**context, "problem": _("Its header cannot be read: %s") % error}
    now = routing.Routing()
    decision = routing.route(facts, now.rules, now.destinations)
    return {
        **context,
        "facts": facts,
        "verdicts": _verdicts(facts, decision),
        "decision": decision,
        "plan": _lines(decision, now.destinations),
        "pairs_count": len(decision.pairs),
        "decided": [
            (row, words.dispatch(row.outcome))
            for row in Dispatch.objects.filter(report__instance=instance)
            .select_related("report", "peer")
            .order_by("pk")
        ],
    }


def _find(asked: str) -> Any:
    wanted = (
        Q(study__accession_number=asked)
        | Q(sop_instance_uid=asked)
        | Q(study__study_instance_uid=asked)
    )
    rows = Instance.objects.select_related("study").order_by("-received_at")
    number = asked.removeprefix("ECG ").strip()
    if number.isdecimal() and len(number) < 16:
        by_number = rows.filter(pk=int(number))
        # What was asked for may be both; the number of an ECG is what its page asks with.
        if asked.startswith("ECG ") or not rows.filter(wanted).exists():
            return by_number
    return rows.filter(wanted)


def _verdicts(facts: routing.Facts, decision: routing.Decision) -> list[Verdict]:
    verdicts = []
    decided = decision.rule.name if decision.rule else None
    for row in Rule.objects.prefetch_related("destinations"):
        checks = routing.checks(routing.as_value(row), facts)
        does_fit = all(check.is_met for check in checks)
        if not row.is_active:
            badge = words.Badge(_("not in use"), "quiet", "toggle_off")
        elif row.name == decided:
            badge = words.Badge(_("decides"), "good", "check_circle")
        elif does_fit:
            badge = words.Badge(_("fits too, comes later"), "progress", "arrow_downward")
        else:
            badge = words.Badge(_("does not fit"), "quiet", "block")
        verdicts.append(Verdict(row, badge, checks))
    return verdicts


def _lines(decision: routing.Decision, destinations: tuple[routing.Receiver, ...]) -> list[Line]:
    peers = Peer.objects.in_bulk([meant.peer for meant in decision.plan])
    refused = {receiver.peer: receiver.refused for receiver in destinations}
    return [
        Line(
            peer=peers[meant.peer],
            output=str(meant.output.label),
            language=str(meant.language.label),
            instead_of=str(meant.instead_of.label) if meant.instead_of else "",
            is_spent=meant.output in refused[meant.peer],
        )
        for meant in decision.plan
        if meant.peer in peers
    ]
