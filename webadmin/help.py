"""What each screen is for, what to do first where it is empty, and a page of help by role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.http import require_safe

from webadmin.roles import ROLES

PURPOSES: Final = {
    "index": gettext_noop("How ECGs flow today, what waits, and what needs a person."),
    "upload": gettext_noop(
        "Hand in an ECG from a file or a photo; it goes the way of one that a device sent."
    ),
    "gateway.association": gettext_noop("Who called the gateway, when, and how each call ended."),
    "gateway.instance": gettext_noop(
        "Every ECG that arrived, what the network found in it, and how far it has come."
    ),
    "gateway.study": gettext_noop("The ECGs of one study, with all their reports."),
    "gateway.report": gettext_noop("The documents written of ECGs, and where they are stored."),
    "gateway.dispatch": gettext_noop(
        "Which report is meant for which Peer, and whether that Peer has shown that it keeps it."
    ),
    "gateway.delivery": gettext_noop("Every attempt to send a report, with the answer it got."),
    "gateway.commitment": gettext_noop(
        "What archives were asked to promise to keep, and what they answered."
    ),
    "gateway.custodyrequest": gettext_noop(
        "Senders who asked whether we keep their ECGs, and what they were told."
    ),
    "gateway.alert": gettext_noop(
        "Messages about findings that somebody wanted to hear of at once."
    ),
    "gateway.transition": gettext_noop(
        "Each step of each ECG, by whom and when; nothing here is ever changed."
    ),
    "gateway.disposal": gettext_noop(
        "What was removed when its time was over, and by which policy."
    ),
    "gateway.peer": gettext_noop(
        "The devices that send ECGs, and the archives that receive the reports."
    ),
    "gateway.alertrule": gettext_noop("Whom to tell of which finding within seconds."),
    "gateway.modelversion": gettext_noop(
        "The networks known here: which one serves, which reads along in shadow, how good each is."
    ),
    "auth.user": gettext_noop("The people who work with the Desk, and their roles."),
    "auth.group": gettext_noop("The roles, and what each may do."),
}
"""A sentence a screen, by the name of its address, or of its model where it is a list.

Lists whose template says more before the rows are not among them.
"""

FIRST: Final = {
    "gateway.alert": gettext_noop("They appear here by themselves when an alert rule fits an ECG."),
    "gateway.disposal": gettext_noop(
        "Nothing is removed unless the set-up says after how many days."
    ),
    "gateway.peer": gettext_noop("Add who may send ECGs, then who receives the reports."),
    "gateway.rule": gettext_noop(
        "None is needed: every destination gets what it usually gets. Add one to decide otherwise."
    ),
    "gateway.alertrule": gettext_noop("Add one to have somebody told of a finding within seconds."),
    "webadmin.label": gettext_noop("Read an ECG from the reading list, or import labels."),
    "webadmin.guideline": gettext_noop("Write down what counts as present, before people read."),
    "webadmin.trainingset": gettext_noop("Have ECGs read and labelled first, then freeze them."),
}
"""What to do first where a list is empty, by model; else its rows appear by themselves."""


@dataclass(frozen=True)
class Task:
    """One thing a role does: the sentence, and the address where it is done."""

    text: str
    at: str = ""


TASKS: Final = {
    "auditor": (
        Task(
            gettext_noop("Find in the trail what was done: by patient, order, UID, person or day."),
            "admin:webadmin_auditlink_changelist",
        ),
        Task(
            gettext_noop(
                "Have the chain checked on the gateway's machine: manage.py audit verify "
                "finds any line that was changed or is missing."
            )
        ),
        Task(
            gettext_noop("Prove where a report went, and that the archive keeps it."),
            "admin:gateway_dispatch_changelist",
        ),
        Task(gettext_noop("See who has which role."), "admin:auth_user_changelist"),
    ),
    "reader": (
        Task(
            gettext_noop("Read from the top of the reading list: what is urgent comes first."),
            "reading_list",
        ),
        Task(
            gettext_noop(
                "Read by keys: c confirms what the network found, o overrides it, u is undecided, "
                "n goes on; ? shows them all."
            )
        ),
        Task(
            gettext_noop(
                "Zoom, measure with callipers, and look where the network looked, before you say."
            )
        ),
        Task(
            gettext_noop(
                "Verify where you are sure: a report in your name follows the network's into the "
                "same archives."
            )
        ),
        Task(
            gettext_noop("Take a blinded reading: no findings are shown, nor who else reads."),
            "curation",
        ),
        Task(gettext_noop("Hand in an ECG that is on paper or in a file."), "upload"),
    ),
    "data manager": (
        Task(
            gettext_noop("Write the guideline by which people label."),
            "admin:webadmin_guideline_changelist",
        ),
        Task(
            gettext_noop("Fill the queues, and see how far two readers agree."),
            "curation",
        ),
        Task(
            gettext_noop("Import labels from a file, or export them."),
            "admin:webadmin_label_changelist",
        ),
        Task(
            gettext_noop("Freeze labelled ECGs into a training set; its test split is locked."),
            "admin:webadmin_trainingset_changelist",
        ),
        Task(
            gettext_noop("Start a training, and follow it."),
            "admin:webadmin_trainingrun_changelist",
        ),
    ),
    "engineer": (
        Task(
            gettext_noop("Add who sends ECGs and who receives reports."),
            "admin:gateway_peer_changelist",
        ),
        Task(
            gettext_noop("Look at the overview: what waits, what failed, who does not answer."),
            "admin:index",
        ),
        Task(
            gettext_noop("Resume what failed, once the cause is mended."),
            "admin:gateway_instance_changelist",
        ),
        Task(
            gettext_noop("Decide by rules where results go, and try them on an ECG."),
            "admin:gateway_rule_changelist",
        ),
        Task(
            gettext_noop(
                "Compare a candidate with the network that serves; promote it with a reason, or "
                "roll back."
            ),
            "admin:gateway_modelversion_changelist",
        ),
    ),
    "administrator": (
        Task(
            gettext_noop("Add each person with an account of their own."),
            "admin:auth_user_changelist",
        ),
        Task(gettext_noop("Give as few roles as the work needs.")),
        Task(
            gettext_noop(
                "End an account by taking its mark Active away; do not delete it, the trail names "
                "it."
            )
        ),
    ),
}
"""What each role does at the Desk, in the order in which it comes up."""


def urls() -> list[URLPattern]:
    """Return the address of the help."""
    return [path("", admin.site.admin_view(require_safe(page)), name="help")]


def purpose(context: Mapping[Any, Any]) -> str:
    """Return what the screen that is being drawn is for; empty where nobody has said."""
    return _said(PURPOSES, context)


def first(context: Mapping[Any, Any]) -> str:
    """Return what to do first where the list that is being drawn is empty."""
    return _said(FIRST, context) or _("They appear here by themselves as ECGs come in.")


def _said(sentences: Mapping[str, str], context: Mapping[Any, Any]) -> str:
    opts, match = context.get("opts"), getattr(context.get("request"), "resolver_match", None)
    key = opts.label_lower if opts is not None else match.url_name if match else ""
    return _(sentences[key]) if key in sentences else ""


def page(request: HttpRequest) -> HttpResponse:
    """Show what each role does, one's own first."""
    own = set(request.user.groups.values_list("name", flat=True))
    told = [
        {
            "name": _(role.name),
            "purpose": _(role.purpose),
            "is_own": role.name in own,
            "tasks": [(_(task.text), _link(task)) for task in TASKS[role.name]],
        }
        for role in ROLES
    ]
    context = {
        **admin.site.each_context(request),
        "title": _("Help"),
        "roles": sorted(told, key=lambda role: not role["is_own"]),
    }
    return TemplateResponse(request, "webadmin/help.html", context)


def _link(task: Task) -> str:
    return reverse(task.at) if task.at else ""
