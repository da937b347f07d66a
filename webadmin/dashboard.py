"""The front page: what waits, what went wrong, who is there, and what to do first."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from gateway import evidence, intake
from gateway.models import Alert, Association, Instance, ModelVersion, Peer
from gateway.states import DONE, WAITING, State
from webadmin import trail, words
from webadmin.filters import between

SLOW = datetime.timedelta(minutes=5)
"""A picture is read within seconds; one that waits longer means a worker is not running."""

UNPROVEN_LONG = datetime.timedelta(hours=1)
"""An archive has answered by then, or was asked again."""

ASSOCIATIONS_SHOWN = 8


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
        page["model_version"] = live_model()
        page["notice"] = words.NOTICE
        if user.has_perm("gateway.view_dispatch"):
            page["tiles"].append(_unproven(timezone.now()))
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


def live_model() -> ModelVersion | None:
    """Return the network that read the latest analysed ECG; None before the first."""
    latest = Instance.objects.filter(model_version__isnull=False).select_related("model_version")
    row = latest.order_by("-pk").first()
    return row.model_version if row else None


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
    note = f"the oldest for {trail.span(wait)}" if count["waiting"] else "nothing waits"
    tone = "warn" if is_slow else "progress"
    tiles = [
        _tile("Waiting", count["waiting"], note, query="state=waiting", tone=tone),
        _tile("Delivered", count["delivered"], TODAY, query=DONE_TODAY, tone="good"),
        _tile("Rejected", count["rejected"], TODAY, query=_today(State.REJECTED), tone="quiet"),
        _tile("Failed", count["failed"], "need a person", query="state=failed", tone="bad"),
        _tile("Set aside", count["set_aside"], "conflicts", query="state=set_aside", tone="warn"),
    ]
    return tiles, trail.span(wait) if is_slow else ""


def _unproven(now: datetime.datetime) -> Tile:
    """Return the tile of what archives have not shown yet to keep."""
    count = evidence.unproven().aggregate(all=Count("pk"), oldest=Min("ended_at"))
    oldest = count["oldest"]
    wait = now - oldest if oldest else datetime.timedelta(0)
    note = f"the oldest for {trail.span(wait)}" if count["all"] else "archives keep what they took"
    tone = "warn" if wait > UNPROVEN_LONG else "progress"
    link = f"{reverse('admin:gateway_dispatch_changelist')}?proof=unproven"
    return Tile("Unproven", f"{count['all']:,}", note, link, tone if count["all"] else "quiet",
                "pending")  # fmt: skip


TODAY = "of those received today"
DONE_TODAY = "state=done&day=today"


def _today(state: State) -> str:
    return f"state={state.value}&day=today"


def _tile(title: str, value: int, note: str, *, query: str, tone: str) -> Tile:
    link = f"{reverse('admin:gateway_instance_changelist')}?{query}"
    return Tile(title, f"{value:,}", note, link, tone if value else "quiet", _ICONS[title])


_ICONS = {
    "Waiting": "hourglass_top",
    "Delivered": "check_circle",
    "Rejected": "block",
    "Failed": "error",
    "Set aside": "content_copy",
}
