"""Which reports of a result go where: a decision of values alone, which the Desk can ask as well.

The first active rule that fits decides; where none fits, every destination gets what it usually
gets, so that no result is lost in a gap between rules. What a Peer was seen to refuse is replaced
along :data:`gateway.outputs.FALLBACK` before anything is composed.

:func:`route` knows no database. :class:`Routing` reads the tables once for a batch and asks it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.utils.translation import gettext as _
from pydicom import Dataset

from dicom_node.charset import decode_dataset
from dicom_node.image import read_header
from gateway import peers
from gateway.models import Finding, Instance, Peer, Rule
from gateway.outputs import Language, Output, accepted
from gateway.retention import picture_file
from models.labels import LABELS

_MEANINGS: Final = {label.key: label.meaning for label in LABELS}


@dataclass(frozen=True)
class Seen:
    """What the network said of one finding: its probability (0..1), and whether it is present."""

    probability: float
    is_present: bool


@dataclass(frozen=True)
class Facts:
    """All that a rule may ask of a result."""

    sender: str = ""
    station_name: str = ""
    modality: str = ""
    descriptions: tuple[str, ...] = ()
    findings: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True)
class RoutingRule:
    """A rule as a value. Empty conditions fit everything.

    Attributes
    ----------
    destinations : tuple of int
        Peers by their rows, whether or not they receive reports now; empty: sent nowhere.
    outputs : tuple of Output
        Empty: what each destination usually gets.
    """

    name: str
    sender: str = ""
    station_name: str = ""
    modality: str = ""
    description: str = ""
    finding: str = ""
    min_probability: float | None = None
    destinations: tuple[int, ...] = ()
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True)
class Receiver:
    """A destination as a value: what it usually gets, in which language, and what it refuses."""

    peer: int
    title: str
    outputs: tuple[Output, ...]
    language: Language = Language.ENGLISH
    refused: frozenset[Output] = frozenset()


@dataclass(frozen=True)
class Meant:
    """One report meant for one Peer; `instead_of` is what was wanted where the Peer refuses that.

    A Peer that refuses a whole chain is asked for the wanted output again: leaving it out would
    hide that it gets nothing.
    """

    peer: int
    output: Output
    language: Language
    instead_of: Output | None = None


@dataclass(frozen=True)
class Decision:
    """Which rule decided (None: no rule fits), and what is meant for whom."""

    rule: RoutingRule | None
    plan: tuple[Meant, ...]

    @property
    def is_nowhere(self) -> bool:
        """Whether a rule says that this result stays here."""
        return self.rule is not None and not self.rule.destinations

    @property
    def pairs(self) -> tuple[tuple[Output, Language], ...]:
        """What has to be composed: each output and language once."""
        return tuple(dict.fromkeys((meant.output, meant.language) for meant in self.plan))


@dataclass(frozen=True)
class Check:
    """One condition of a rule in words, what the result has instead, and whether it is met."""

    condition: str
    found: str
    is_met: bool


def route(facts: Facts, rules: Sequence[RoutingRule], destinations: Sequence[Receiver]) -> Decision:
    """Decide where the reports of a result go.

    Parameters
    ----------
    facts
        Of the result.
    rules
        The active ones, in the order in which they are asked.
    destinations
        Every Peer that receives reports now. A rule's Peer that is not among them gets nothing.
    """
    rule = next((rule for rule in rules if fits(rule, facts)), None)
    plan: list[Meant] = []
    for receiver in destinations:
        if rule is not None and receiver.peer not in rule.destinations:
            continue
        wanted = (rule.outputs if rule is not None else ()) or receiver.outputs
        plan += meant_for(receiver, wanted)
    return Decision(rule, tuple(plan))


def meant_for(receiver: Receiver, wanted: Collection[Output]) -> list[Meant]:
    """Return what a Peer is sent of what is wanted for it: nothing twice, nothing it refuses."""
    chosen: dict[Output, Output | None] = {}
    kept = {output: accepted(output, receiver.refused) for output in wanted}
    # What it takes as wanted comes first, so that nothing counts as a stand-in that is wanted too.
    for output, found in sorted(kept.items(), key=lambda pair: pair[0] != pair[1]):
        taken = Output(found) if found is not None else output
        chosen.setdefault(taken, None if taken == output else output)
    return [
        Meant(receiver.peer, output, receiver.language, instead_of)
        for output, instead_of in chosen.items()
    ]


def fits(rule: RoutingRule, facts: Facts) -> bool:
    """Return whether every condition of a rule is met."""
    return all(check.is_met for check in checks(rule, facts))


def checks(rule: RoutingRule, facts: Facts) -> tuple[Check, ...]:
    """Return the conditions that a rule has, each held against the facts."""
    found: list[Check] = []
    for condition, wanted, given in (
        (_("sender is %s"), rule.sender, facts.sender),
        (_("station is %s"), rule.station_name, facts.station_name),
        (_("modality is %s"), rule.modality, facts.modality),
    ):
        if wanted:
            is_met = _plain(wanted) == _plain(given)
            found.append(Check(condition % wanted, given or _("none given"), is_met))
    if rule.description:
        is_met = any(_plain(rule.description) in _plain(text) for text in facts.descriptions)
        given = " / ".join(text for text in facts.descriptions if text)
        condition = _("description contains “%s”") % rule.description
        found.append(Check(condition, given or _("none given"), is_met))
    if rule.finding:
        found.append(check_finding(rule.finding, rule.min_probability, facts.findings))
    return tuple(found)


def check_finding(key: str, min_probability: float | None, findings: Mapping[str, Seen]) -> Check:
    """Return the condition on a finding: called present, or at least so probable."""
    name, seen = _(_MEANINGS.get(key, key)), findings.get(key)
    condition = (
        _("%s present") % name
        if min_probability is None
        else _("%(finding)s at least %(probability)s probable")
        % {"finding": name, "probability": f"{min_probability:.1%}"}
    )
    if seen is None:
        return Check(condition, _("not analysed"), is_met=False)
    is_met = seen.is_present if min_probability is None else seen.probability >= min_probability
    verdict = _("present") if seen.is_present else _("not present")
    return Check(condition, f"{seen.probability:.1%}, {verdict}", is_met)


def describe(rule: RoutingRule) -> tuple[str, ...]:
    """Return the conditions of a rule in words; none for a rule that fits everything."""
    return tuple(check.condition for check in checks(rule, Facts()))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


# --- from the tables ------------------------------------------------------------------------------


class Routing:
    """Rules and destinations as the tables have them now, read once for a batch."""

    def __init__(self) -> None:
        active = Rule.objects.filter(is_active=True).prefetch_related("destinations")
        self.rules = tuple(as_value(rule) for rule in active)
        self.destinations = tuple(receiver(peer) for peer in peers.destinations())

    def decide(self, instance: Instance) -> Decision:
        """Return where the reports of an analysed instance go; see :func:`facts_of` for errors."""
        # Without rules nobody asks, and the header need not be read.
        facts = facts_of(instance) if self.rules else Facts()
        return route(facts, self.rules, self.destinations)


def as_value(rule: Rule) -> RoutingRule:
    """Return a row as the value that decides."""
    return RoutingRule(
        name=rule.name,
        sender=rule.sender,
        station_name=rule.station_name,
        modality=rule.modality,
        description=rule.description,
        finding=rule.finding,
        min_probability=rule.min_probability,
        destinations=tuple(peer.pk for peer in rule.destinations.all()),
        outputs=tuple(Output(output) for output in rule.outputs),
    )


def receiver(peer: Peer) -> Receiver:
    """Return a destination as the value that is chosen from."""
    return Receiver(
        peer=peer.pk,
        title=peer.title,
        outputs=tuple(Output(output) for output in peer.outputs),
        language=Language(peer.language),
        refused=refused_by(peer),
    )


def refused_by(peer: Peer) -> frozenset[Output]:
    """Return what a Peer was seen to refuse, at the address it has now."""
    rows = peer.refused_outputs.all()
    return frozenset(Output(row.output) for row in rows if row.address == str(peer))


def facts_of(instance: Instance) -> Facts:
    """Return what a rule may ask of an instance; what its header does not say is empty.

    Raises
    ------
    OSError, ImageError
        The header cannot be read (now), and a rule that asks of it would be passed over.
    """
    header = decode_dataset(read_header(picture_file(instance)))
    study = instance.study.description if instance.study else ""
    return Facts(
        sender=instance.calling_title,
        station_name=instance.station_name or _text(header, "StationName"),
        modality=instance.modality or _text(header, "Modality"),
        descriptions=(
            study or _text(header, "StudyDescription"),
            _text(header, "SeriesDescription"),
        ),
        findings=findings_of(instance),
    )


def findings_of(instance: Instance) -> dict[str, Seen]:
    """Return what the network in the instance's reports said."""
    if instance.model_version_id is None:
        return {}
    rows = instance.findings.filter(model_version=instance.model_version_id)
    return {row.key: Seen(row.probability, row.verdict == Finding.Verdict.PRESENT) for row in rows}


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).replace("\x00", "").strip()
