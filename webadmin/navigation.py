"""The sidebar: an ECG's life from top to bottom, then what a person sets up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

LIFE = (
    ("Associations", "settings_ethernet", "gateway.association"),
    ("ECGs", "monitor_heart", "gateway.instance"),
    ("Studies", "folder_shared", "gateway.study"),
    ("Reports", "description", "gateway.report"),
    ("Dispatches", "forward_to_inbox", "gateway.dispatch"),
    ("Deliveries", "outbox", "gateway.delivery"),
    ("Commitments", "verified", "gateway.commitment"),
    ("Custody requests", "fact_check", "gateway.custodyrequest"),
    ("Alerts", "notifications_active", "gateway.alert"),
    ("Transitions", "timeline", "gateway.transition"),
    ("Disposals", "auto_delete", "gateway.disposal"),
)
LEARNING = (
    ("Reading list", "ecg", "gateway.view_instance", "reading_list"),
    ("Curation", "fact_check", "webadmin.view_assignment", "curation"),
    ("Labels", "label", "webadmin.view_label", "admin:webadmin_label_changelist"),
    ("Guidelines", "menu_book", "webadmin.view_guideline", "admin:webadmin_guideline_changelist"),
    (
        "Training sets",
        "ac_unit",
        "webadmin.view_trainingset",
        "admin:webadmin_trainingset_changelist",
    ),
    (
        "Training runs",
        "model_training",
        "webadmin.view_trainingrun",
        "admin:webadmin_trainingrun_changelist",
    ),
)
"""Screens of their own: title, icon, who may see it, and the name of its address."""

SETUP = (
    ("Peers", "hub", "gateway.peer"),
    ("Routing rules", "alt_route", "gateway.rule"),
    ("Alert rules", "notification_add", "gateway.alertrule"),
    ("Model versions", "neurology", "gateway.modelversion"),
    ("Audit trail", "policy", "webadmin.auditlink"),
    ("Users", "person", "auth.user"),
    ("Groups", "group", "auth.group"),
)


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar's groups, with only what this user may look at."""
    front = [{"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}]
    if request.user.has_perm("gateway.add_instance"):
        add = {"title": "Add an ECG", "icon": "add_photo_alternate", "link": reverse("upload")}
        front.append(add)
    return [
        {"title": "", "items": front},
        {"title": "The life of an ECG", "items": _items(request, LIFE)},
        {"title": "Reading and learning", "items": _screens(request, LEARNING)},
        {"title": "Set up", "items": _items(request, SETUP)},
    ]


def stylesheet(_request: HttpRequest) -> str:
    """Return where the Desk's own styles are."""
    return static("webadmin/desk.css")


def favicons(_request: HttpRequest) -> list[dict[str, str]]:
    """Return the sign of the Desk in a browser's tab."""
    return [{"rel": "icon", "type": "image/svg+xml", "href": static("webadmin/favicon.svg")}]


def _screens(
    request: HttpRequest, entries: tuple[tuple[str, str, str, str], ...]
) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": reverse(name)}
        for title, icon, permission, name in entries
        if request.user.has_perm(permission)
    ]


def _items(request: HttpRequest, entries: tuple[tuple[str, str, str], ...]) -> list[dict[str, Any]]:
    items = []
    for title, icon, model in entries:
        app, name = model.split(".")
        user = request.user
        if user.has_perm(f"{app}.view_{name}") or user.has_perm(f"{app}.change_{name}"):
            link = reverse(f"admin:{app}_{name}_changelist")
            items.append({"title": title, "icon": icon, "link": link})
    return items
