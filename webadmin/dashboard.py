"""The front page: what waits, what went wrong, who is there, and what to do first."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, Min, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gateway import evidence, intake, serving
from gateway.models import Alert, Association, CustodyRequest, Instance, ModelVersion, Peer
from gateway.states import DONE, WAITING, State
from webadmin import drift, first_steps, trail, words
from webadmin.filters import between

SLOW = datetime.timedelta(minutes=5)
"""A picture is read within seconds; one that waits longer means a worker is not running."""

UNPROVEN_LONG = datetime.timedelta(hours=1)
"""An archive has answered by then, or was asked again."""

ASSOCIATIONS_SHOWN = 8

FAILURES_GROUPED = 500
"""The latest ones; in a long outage there are thousands, of the same few causes."""

CAUSES_SHOWN = 6


@dataclass(frozen=True)
class Tile:
    """One number, and where to see what it counts."""

    title: str
    value: str
    note: str
    link: str
    tone: str
    icon: str


def context(request: HttpRequest, page: dict[str, Any]) -> dict[str, Any]:
    """Add what the front page shows, as far as this user may see it, to its context."""
    user = request.user
    if user.has_perm("gateway.view_instance"):
        page["tiles"], page["oldest_wait"] = _tiles(timezone.now())
        page["causes"] = _causes()
        page["notice"] = words.NOTICE
        if live := live_model():
            page["live"] = live
            page["drift"] = drift.table(live.version, live.since)
            page["drift_needs"] = 2 * drift.ENOUGH
            page["steps"] = first_steps.open_to(user)
            if user.has_perm("webadmin.view_label"):
                page["agreement"] = drift.agreement(live.version)
        if user.has_perm("gateway.view_dispatch"):
            page["tiles"].append(_unproven(timezone.now()))
        if user.has_perm("gateway.view_custodyrequest"):
            page["tiles"].append(_custody())
        page["intake_shut"] = intake.shortage()
    if user.has_perm("gateway.view_association"):
        page["associations"] = [
            (row, words.association(row.outcome))
            for row in Association.objects.all()[:ASSOCIATIONS_SHOWN]
        ]
    if user.has_perm("gateway.view_alert"):
        page["failed_alerts"] = Alert.objects.filter(outcome=Alert.Outcome.FAILED).count()
    if user.has_perm("gateway.view_peer"):
        peers = list(Peer.objects.select_related("circuit"))
        page["peers"] = [(peer, trail.silence(peer)) for peer in peers]
        page["has_sender"] = any(peer.is_sender for peer in peers)
        page["has_destination"] = any(peer.is_destination for peer in peers)
        page["first_steps"] = not (page["has_sender"] and page["has_destination"])
    page["our_title"] = settings.ECG_AE_TITLE
    page["our_port"] = settings.ECG_DICOM_PORT
    return page


@dataclass(frozen=True)
class Live:
    """The network that serves, since when, and who said so where a person did."""

    version: ModelVersion
    since: datetime.datetime
    actor: str = ""


def live_model() -> Live | None:
    """Return the network that was promoted last, or else the one that read the latest ECG.

    None before the first has been read.
    """
    promotion = serving.latest()
    if promotion is not None:
        return Live(promotion.model_version, promotion.at, promotion.actor.removeprefix("user:"))
    latest = Instance.objects.filter(model_version__isnull=False).select_related("model_version")
    row = latest.order_by("-pk").first()
    if row is None or row.model_version is None:
        return None
    return Live(row.model_version, row.model_version.first_used_at)


def _causes() -> list[tuple[str, int, str]]:
    """Return why ECGs failed, the most frequent first: the cause, how many, and their list."""
    failed = Instance.objects.filter(state=State.FAILED).order_by("-received_at")
    reasons = Counter(failed.values_list("reason", flat=True)[:FAILURES_GROUPED])
    base = reverse("admin:gateway_instance_changelist")
    return [
        (reason or _("no cause was given"), count,
         f"{base}?{urlencode({'state': State.FAILED, 'reason': reason})}")
        for reason, count in reasons.most_common(CAUSES_SHOWN)
    ]  # fmt: skip


def _custody() -> Tile:
    """Return the tile of senders who wait for an answer that they cannot be given."""
    count = CustodyRequest.objects.filter(outcome=CustodyRequest.Outcome.FAILED).count()
    link = f"{reverse('admin:gateway_custodyrequest_changelist')}?outcome=failed"
    note = _("do not know what we keep") if count else _("senders know what we keep")
    tone = "bad" if count else "quiet"
    return Tile(_("Unanswered"), f"{count:,}", note, link, tone, "fact_check")


def _tiles(now: datetime.datetime) -> tuple[list[Tile], str]:
    """Return the tiles, and for how long the oldest ECG waits where that is too long."""
    today = Q(**between("received_at", timezone.localdate(now), None))
    count = Instance.objects.aggregate(
        waiting=Count("pk", filter=Q(state__in=WAITING)),
        oldest=Min("received_at", filter=Q(state__in=WAITING)),
        delivered=Count("pk", filter=Q(state__in=DONE) & today),
        rejected=Count("pk", filter=Q(state=State.REJECTED) & today),
        failed=Count("pk", filter=Q(state=State.FAILED)),
        set_aside=Count("pk", filter=Q(state=State.SET_ASIDE)),
    )
    wait = now - count["oldest"] if count["oldest"] else datetime.timedelta(0)
    is_slow = wait > SLOW
    note = _("the oldest for %s") % trail.span(wait) if count["waiting"] else _("nothing waits")
    tone = "warn" if is_slow else "progress"
    tiles = [
        _tile("Waiting", count["waiting"], note, query="state=waiting", tone=tone),
        _tile("Delivered", count["delivered"], _(TODAY), query=DONE_TODAY, tone="good"),
        _tile("Rejected", count["rejected"], _(TODAY), query=_today(State.REJECTED), tone="quiet"),
        _tile("Failed", count["failed"], _("need a person"), query="state=failed", tone="bad"),
        _tile(
            "Set aside", count["set_aside"], _("conflicts"), query="state=set_aside", tone="warn"
        ),
    ]
    return tiles, trail.span(wait) if is_slow else ""


def _unproven(now: datetime.datetime) -> Tile:
    """Return the tile of what archives have not shown yet to keep."""
    count = evidence.unproven().aggregate(all=Count("pk"), oldest=Min("ended_at"))
    oldest = count["oldest"]
    wait = now - oldest if oldest else datetime.timedelta(0)
    note = (
        _("the oldest for %s") % trail.span(wait)
        if count["all"]
        else _("archives keep what they took")
    )
    tone = "warn" if wait > UNPROVEN_LONG else "progress"
    link = f"{reverse('admin:gateway_dispatch_changelist')}?proof=unproven"
    return Tile(_("Unproven"), f"{count['all']:,}", note, link, tone if count["all"] else "quiet",
                "pending")  # fmt: skip


TODAY = gettext_noop("of those received today")
DONE_TODAY = "state=done&day=today"


def _today(state: State) -> str:
    return f"state={state.value}&day=today"


def _tile(title: str, value: int, note: str, *, query: str, tone: str) -> Tile:
    link = f"{reverse('admin:gateway_instance_changelist')}?{query}"
    return Tile(_(title), f"{value:,}", note, link, tone if value else "quiet", _ICONS[title])


_ICONS = {
    gettext_noop("Waiting"): "hourglass_top",
    gettext_noop("Delivered"): "check_circle",
    gettext_noop("Rejected"): "block",
    gettext_noop("Failed"): "error",
    gettext_noop("Set aside"): "content_copy",
}
