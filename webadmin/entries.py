"""The trail for people: what a link of the chain stands for, in words, and where to look at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from gateway.models import Association, Commitment, Delivery, Disposal, Instance, Promotion
from gateway.models.instances import Door
from gateway.outputs import Output
from webadmin import trail, words
from webadmin.audit import Action
from webadmin.chained import BY_TABLE, SOURCES, Source
from webadmin.models import AuditLink, Deed, Label, Reading

Values = Mapping[str, Any]

FEW: Final = 1000
"""ECGs that one word of a search may mean, and rows that are named one by one."""


@dataclass(frozen=True)
class Entry:
    """One line of the trail. `values` is the row as it is now; empty when it is gone."""

    what: str
    who: str = ""
    about: str = ""
    link: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def of(links: Iterable[AuditLink]) -> dict[int, Entry]:
    """Return the entries of links by their number, with one statement for each table."""
    by_table: dict[str, list[AuditLink]] = defaultdict(list)
    for link in links:
        by_table[link.table].append(link)
    found = {}
    for table, ours in by_table.items():
        source = BY_TABLE.get(table)
        rows = _rows(source, [link.row for link in ours]) if source else {}
        for link in ours:
            values = rows.get(link.row)
            found[link.number] = _entry(source, link, values) if source and values else Entry(
                _("Not here any more: {table} {row}").format(table=table, row=link.row)
            )  # fmt: skip
    return found


def _rows(source: Source, pks: list[int]) -> dict[int, dict[str, Any]]:
    paths = {*source.columns, *((source.person,) if source.person else ())}
    rows = source.model._default_manager.filter(pk__in=pks).order_by()
    return {row["pk"]: row for row in rows.values("pk", *paths)}


def _entry(source: Source, link: AuditLink, values: dict[str, Any]) -> Entry:
    describe = _WORDS.get(source.name)
    what = describe(values) if describe else source.model._meta.verbose_name or source.name
    subject = _subject(source, link, values)
    about, address = _page(subject) if subject else ("", "")
    return Entry(
        what=str(what),
        who=str(values.get(source.person) or "").removeprefix("user:") if source.person else "",
        about=about,
        link=address,
        values={name: values[name] for name in source.columns},
    )


def _subject(source: Source, link: AuditLink, values: Values) -> str:
    """Return kind and number of the row it is about."""
    if source.name == "deed":
        return str(values["subject"])
    for name in ("instance", "report", "training_set", "model_version"):
        if f"{name}_id" in values:
            return f"{name.replace('_', '')} {values[f'{name}_id']}"
    return f"{source.name} {link.row}"


_SHORT: Final = {"instance": "ECG"}


def _page(subject: str) -> tuple[str, str]:
    """Return a subject in words, and the address of its page where it has one."""
    kind, _space, number = subject.rpartition(" ")
    about = f"{_(_SHORT.get(kind, kind))} {number}" if kind else subject
    for app in ("gateway", "webadmin", "auth"):
        try:
            return about, reverse(f"admin:{app}_{kind}_change", args=[number])
        except NoReverseMatch:
            continue
    return about, ""


def _choice(choices: Any, value: str) -> str:
    return str(choices(value).label) if value in choices.values else value


_WORDS: Final[dict[str, Callable[[Values], str]]] = {
    "association": lambda v: _("Association: {outcome}").format(
        outcome=_choice(Association.Outcome, v["outcome"]).lower()
    ),
    "instance": lambda v: _("An ECG came: {door}").format(door=_choice(Door, v["door"])),
    "transition": lambda v: trail.describe(v["event"]),
    "report": lambda v: _("Composed: {kind}").format(kind=_choice(Output, v["kind"])),
    "dispatch": lambda _values: _("A report is meant for a Peer"),
    "delivery": lambda v: _("Attempt to deliver: {outcome}").format(
        outcome=_choice(Delivery.Outcome, v["outcome"]).lower()
    ),
    "commitment": lambda v: _("Proof from an archive: {outcome}").format(
        outcome=_choice(Commitment.Outcome, v["outcome"]).lower()
    ),
    "alert": lambda v: _("Alert raised: {finding}").format(
        finding=words.MEANINGS.get(v["finding"], v["finding"])
    ),
    "review": lambda v: _("Verified, review {number}").format(number=v["number"]),
    "disposal": lambda v: _("Removed: {kind}").format(kind=_choice(Disposal.Kind, v["kind"])),
    "promotion": lambda v: _choice(Promotion.Kind, v["kind"]),
    "deed": lambda v: _choice(Action, v["action"]),
    "reading": lambda v: _("Read: {decision}").format(
        decision=_choice(Reading.Decision, v["decision"]).lower()
    ),
    "label": lambda v: _("Labelled: {source}").format(
        source=_choice(Label.Source, v["source"]).lower()
    ),
    "trainingset": lambda _values: _("Froze a training set"),
    "trainingitem": lambda _values: _("Became part of a training set"),
    "splitopening": lambda _values: _("Opened the locked test split"),
    "evaluation": lambda _values: _("A candidate was evaluated"),
}


# --- searching ------------------------------------------------------------------------------------


def search(links: QuerySet[AuditLink], word: str) -> QuerySet[AuditLink]:
    """Keep what is about a patient, order or UID, or was done by a person, named exactly so."""
    about = Instance.objects.filter(
        Q(study__patient_id=word)
        | Q(study__accession_number=word)
        | Q(study__study_instance_uid=word)
        | Q(sop_instance_uid=word)
        | Q(reports__sop_instance_uid=word)
    )
    ecgs = dict(about.order_by().values_list("pk", "sop_instance_uid").distinct()[:FEW])
    kept = Q(pk__in=())
    for source in SOURCES:
        rows = Q(**{f"{source.person}__in": (word, f"user:{word}")}) if source.person else Q()
        if source.instance and ecgs:
            rows |= Q(**{f"{source.instance}__in": list(ecgs)})
        if source.name == "deed":
            uids = [word, *ecgs.values()]
            rows |= Q(patient_id=word) | Q(accession_number=word) | Q(uid__in=uids)
            if ecgs:
                rows |= Q(pk__in=_lists_of(ecgs))
        if source.name in ("disposal", "association"):
            rows |= Q(uid=word)
        if rows:
            kept |= of_rows(source, rows)
    return links.filter(kept)


def _lists_of(ecgs: Iterable[int]) -> QuerySet[Deed, Any]:
    """Return the lists that showed one of these ECGs."""
    lists = Deed.objects.filter(action=Action.LISTED).annotate(
        ecgs=Cast(KeyTextTransform("ecgs", "detail"), TextField())
    )
    # A list is written as [1, 2, 3] by one database and as [1,2,3] by the other; neither can look
    # into it as the other does.
    one_of = "|".join(map(str, ecgs))
    return lists.filter(ecgs__regex=rf"[\[ ,]({one_of})[,\]]").order_by().values("pk")


def of_rows(source: Source, rows: Q) -> Q:
    """Return what keeps the links of some rows of a table.

    A few are named one by one, so that their links are found by an index; of many the latest links
    are soon met by looking through all of them.
    """
    found = source.model._default_manager.filter(rows).order_by("-pk")
    pks = list(found.values_list("pk", flat=True).distinct()[: FEW + 1])
    if len(pks) <= FEW:
        return Q(table=source.table, row__in=pks)
    # The table is asked inside: outside, SQLite would collect all links of it and sort them.
    this = source.model._default_manager.annotate(table=Value(source.table))
    return Q(Exists(this.filter(rows, pk=OuterRef("row"), table=OuterRef("table"))))
