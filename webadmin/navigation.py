"""The sidebar: an ECG's life from top to bottom, then what a person sets up."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

LIFE = (
    (gettext_noop("Associations"), "settings_ethernet", "gateway.association"),
    (gettext_noop("ECGs"), "monitor_heart", "gateway.instance"),
    (gettext_noop("Studies"), "folder_shared", "gateway.study"),
    (gettext_noop("Reports"), "description", "gateway.report"),
    (gettext_noop("Dispatches"), "forward_to_inbox", "gateway.dispatch"),
    (gettext_noop("Deliveries"), "outbox", "gateway.delivery"),
    (gettext_noop("Commitments"), "verified", "gateway.commitment"),
    (gettext_noop("Custody requests"), "fact_check", "gateway.custodyrequest"),
    (gettext_noop("Alerts"), "notifications_active", "gateway.alert"),
    (gettext_noop("Transitions"), "timeline", "gateway.transition"),
    (gettext_noop("Disposals"), "auto_delete", "gateway.disposal"),
)
LEARNING = (
    (gettext_noop("Reading list"), "ecg", "gateway.view_instance", "reading_list"),
    (gettext_noop("Curation"), "fact_check", "webadmin.view_assignment", "curation"),
    (gettext_noop("Labels"), "label", "webadmin.view_label", "admin:webadmin_label_changelist"),
    (
        gettext_noop("Guidelines"),
        "menu_book",
        "webadmin.view_guideline",
        "admin:webadmin_guideline_changelist",
    ),
    (
        gettext_noop("Training sets"),
        "ac_unit",
        "webadmin.view_trainingset",
        "admin:webadmin_trainingset_changelist",
    ),
    (
        gettext_noop("Training runs"),
        "model_training",
        "webadmin.view_trainingrun",
        "admin:webadmin_trainingrun_changelist",
    ),
)
"""Screens of their own: title, icon, who may see it, and the name of its address."""

SETUP = (
    (gettext_noop("Peers"), "hub", "gateway.peer"),
    (gettext_noop("Routing rules"), "alt_route", "gateway.rule"),
    (gettext_noop("Alert rules"), "notification_add", "gateway.alertrule"),
    (gettext_noop("Model versions"), "neurology", "gateway.modelversion"),
    (gettext_noop("Audit trail"), "policy", "webadmin.auditlink"),
    (gettext_noop("Users"), "person", "auth.user"),
    (gettext_noop("Groups"), "group", "auth.group"),
)


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar's groups, with only what this user may look at."""
    front = [{"title": _("Overview"), "icon": "dashboard", "link": reverse("admin:index")}]
    if request.user.has_perm("gateway.add_instance"):
        add = {"title": _("Add an ECG"), "icon": "add_photo_alternate", "link": reverse("upload")}
        front.append(add)
    return [
        {"title": "", "items": front},
        {"title": _("The life of an ECG"), "items": _items(request, LIFE)},
        {"title": _("Reading and learning"), "items": _screens(request, LEARNING)},
        {"title": _("Set up"), "items": _items(request, SETUP)},
        {"title": "", "items": [{"title": _("Help"), "icon": "help", "link": reverse("help")}]},
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
        {"title": _(title), "icon": icon, "link": reverse(name)}
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
            items.append({"title": _(title), "icon": icon, "link": link})
    return items
