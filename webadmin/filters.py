"""What narrows a list of ECGs: state, finding, sender, day."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import DateField, DateInput
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget

from gateway.models import Finding, Instance
from gateway.states import DONE, WAITING, State
from webadmin import words
from webadmin.unfolded import DropdownFilter, DropdownForm, RangeFilter, RangeForm

Choices = list[tuple[str, str]]


class PlainDropdown(DropdownForm):
    """The browser's own list: it works by keyboard and on a phone, and needs no script."""

    widget = UnfoldAdminSelectWidget()

    class Media:
        extend = False


class Dropdown(DropdownFilter):
    """A filter with a few choices."""

    form_class = PlainDropdown


class StateFilter(Dropdown):
    """By state; "waiting" is every state from which a machine takes the next step, "done"
    those in which every destination has the reports."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _admin: ModelAdmin[Any]) -> Choices:
        states = [(state.value, str(state.label)) for state in State]
        return [
            ("waiting", _("Waiting (received to reported)")),
            ("done", _("Delivered, proven or not yet")),
            *states,
        ]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Instance]) -> QuerySet[Instance]:
        match self.value():
            case "waiting":
                return rows.filter(state__in=WAITING)
            case "done":
                return rows.filter(state__in=DONE)
            case str(state) if state in State.values:
                return rows.filter(state=state)
        return rows


class FindingFilter(Dropdown):
    """By what the network that wrote the reports found present."""

    title = gettext_lazy("finding present")
    parameter_name = "finding"

    def lookups(self, _request: HttpRequest, _admin: ModelAdmin[Any]) -> Choices:
        return [
            *((key, str(said)) for key, said in words.MEANINGS.items()),
            ("none", _("None of the ten")),
        ]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Instance]) -> QuerySet[Instance]:
        present = Finding.objects.filter(
            instance=OuterRef("pk"),
            model_version=OuterRef("model_version"),
            verdict=Finding.Verdict.PRESENT,
        )
        match self.value():
            case "none":
                return rows.filter(~Exists(present), model_version__isnull=False)
            case str(key) if key in words.MEANINGS:
                return rows.filter(Exists(present.filter(key=key)))
        return rows


class SenderFilter(Dropdown):
    """By the AE title that sent it."""

    title = gettext_lazy("sender")
    parameter_name = "sender"

    def lookups(self, _request: HttpRequest, _admin: ModelAdmin[Any]) -> Choices:
        titles = Instance.objects.order_by("calling_title").values_list("calling_title", flat=True)
        return [(title, title) for title in titles.distinct()]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Instance]) -> QuerySet[Instance]:
        return rows.filter(calling_title=self.value()) if self.value() else rows


class DayFilter(Dropdown):
    """By the day it arrived, in the time zone of the hospital."""

    title = gettext_lazy("day received")
    parameter_name = "day"

    def lookups(self, _request: HttpRequest, _admin: ModelAdmin[Any]) -> Choices:
        return [("today", _("Today")), ("yesterday", _("Yesterday")), ("7", _("Past 7 days")),
                ("30", _("Past 30 days"))]  # fmt: skip

    def queryset(self, _request: HttpRequest, rows: QuerySet[Instance]) -> QuerySet[Instance]:
        today = timezone.localdate()
        first, last = {
            "today": (today, today),
            "yesterday": (today - datetime.timedelta(days=1), today - datetime.timedelta(days=1)),
            "7": (today - datetime.timedelta(days=6), today),
            "30": (today - datetime.timedelta(days=29), today),
        }.get(self.value() or "", (None, None))
        return rows.filter(**between("received_at", first, last))


class DayRangeForm(RangeForm):
    """Two days, chosen with the browser's own calendar."""

    class Media:
        extend = False

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        for edge, said in (("from", _("from")), ("to", _("to"))):
            attrs = {"type": "date", "class": " ".join(INPUT_CLASSES), "aria-label": said}
            self.fields[f"{name}_{edge}"] = DateField(
                required=False, label="", widget=DateInput(attrs=attrs, format="%Y-%m-%d")
            )


class DayRangeFilter(RangeFilter):
    """By a range of days, both included."""

    form_class = DayRangeForm

    def queryset(self, _request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        first, last = (self._day(edge) for edge in ("from", "to"))
        return rows.filter(**between(self.field_path, first, last))

    def _day(self, edge: str) -> datetime.date | None:
        try:
            return parse_date(str(self.used_parameters.get(f"{self.field_path}_{edge}", "")))
        except ValueError:
            return None


def between(
    field: str, first: datetime.date | None, last: datetime.date | None
) -> dict[str, datetime.datetime]:
    """Return the lookups that keep a time between two days of the hospital, both included."""
    lookups = {}
    if first is not None:
        lookups[f"{field}__gte"] = _midnight(first)
    if last is not None:
        lookups[f"{field}__lt"] = _midnight(last + datetime.timedelta(days=1))
    return lookups


def _midnight(day: datetime.date) -> datetime.datetime:
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))
