"""Who may do what: five roles, each with what its work needs and nothing else.

``manage.py roles`` makes them groups of that name and gives each exactly these permissions; it is
run again after an update. A person has as many roles as tasks. A superuser is above all of them,
and needed for one thing alone: to make another.

An auditor sees what happened and no picture; an administrator makes accounts and sees no patient,
and cannot make an account mightier than a role (:mod:`webadmin.admin.people`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils.translation import gettext_noop

from webadmin import audit


@dataclass(frozen=True)
class Role:
    """One role; `may` names permissions as ``app.codename``."""

    name: str
    purpose: str
    may: frozenset[str]


def _view(app: str, *models: str) -> frozenset[str]:
    return frozenset(f"{app}.view_{model}" for model in models)


def _set_up(app: str, *models: str) -> frozenset[str]:
    verbs = ("view", "add", "change", "delete")
    return frozenset(f"{app}.{verb}_{model}" for verb in verbs for model in models)


_TRAFFIC: Final = _view(
    "gateway",
    "association",
    "transition",
    "dispatch",
    "delivery",
    "commitment",
    "custodyrequest",
    "alert",
    "disposal",
)
_ECGS: Final = _view("gateway", "instance", "study", "report", "transition")
_LEARNING: Final = _view(
    "webadmin",
    "trainingset",
    "trainingitem",
    "trainingrun",
    "evaluation",
    "splitopening",
) | _view("gateway", "modelversion", "promotion")

ROLES: Final = (
    Role(
        gettext_noop("auditor"),
        gettext_noop(
            "Proves what happened: reads the whole trail and the machine's records. No pictures, "
            "no reports, changes nothing."
        ),
        _TRAFFIC
        | _view("webadmin", "auditlink", "deed")
        | _view("auth", "user", "group")
        | _view("gateway", "modelversion", "promotion"),
    ),
    Role(
        gettext_noop("reader"),
        gettext_noop(
            "A cardiologist: hands in and reads ECGs, labels, adjudicates, verifies reports in "
            "their own name."
        ),
        _ECGS
        | _view("gateway", "alert", "modelversion", "review")
        | _view("webadmin", "reading", "label", "assignment", "guideline")
        | {
            "gateway.add_instance",
            "webadmin.add_reading",
            "webadmin.adjudicate",
            "webadmin.verify_report",
        },
    ),
    Role(
        gettext_noop("data manager"),
        gettext_noop(
            "Makes training data of routine work: queues, guidelines, labels in and out, training "
            "sets, trainings. Reads and verifies nothing."
        ),
        _ECGS
        | _LEARNING
        | _view("webadmin", "reading", "label")
        | {
            f"webadmin.{name}"
            for name in (
                "view_assignment", "add_assignment", "change_assignment",
                "view_guideline", "add_guideline", "change_guideline",
                "import_label", "export_label",
                "freeze_trainingset", "export_trainingset",
                "add_trainingrun", "change_trainingrun",
            )
        },
    ),
    Role(
        gettext_noop("engineer"),
        gettext_noop(
            "Keeps it running: Peers, rules, alerts, what failed; which network serves. Reads no "
            "ECG for a patient and labels none."
        ),
        _TRAFFIC
        | _ECGS
        | _LEARNING
        | _set_up("gateway", "peer", "rule", "alertrule")
        | {
            "gateway.change_instance",
            "gateway.change_alert",
            "gateway.change_custodyrequest",
            "gateway.change_modelversion",
            "webadmin.add_trainingrun",
            "webadmin.change_trainingrun",
            "webadmin.promote_modelversion",
        },
    ),
    Role(
        gettext_noop("administrator"),
        gettext_noop(
            "Makes accounts, ends them and gives them roles. Sees no patient."
        ),
        frozenset({"auth.view_user", "auth.add_user", "auth.change_user", "auth.view_group"}),
    ),
)  # fmt: skip


def renew() -> Iterator[str]:
    """Make the groups, or give them exactly what the table says; tell what was changed.

    Raises
    ------
    LookupError
        The table names a permission that does not exist: the database is of another version.
    """
    known = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.values_list(
            "pk", "content_type__app_label", "codename"
        )
    }
    with transaction.atomic():
        for role in ROLES:
            if unknown := sorted(role.may - known.keys()):
                raise LookupError(f"expected permissions that exist, received {unknown}")
            group, is_new = Group.objects.get_or_create(name=role.name)
            had = set(group.permissions.values_list("pk", flat=True))
            wanted = {known[name] for name in role.may}
            if had != wanted:
                group.permissions.set(wanted)
            if is_new:
                audit.record(audit.Action.ADDED, actor="manage.py roles", subject=group)
                yield f"{role.name}: made, with {len(wanted)} permissions"
            elif had != wanted:
                yield f"{role.name}: {len(wanted - had)} given, {len(had - wanted)} taken"
            else:
                yield f"{role.name}: as it should be"


def table() -> str:
    """Return who may do what as a table in Markdown."""
    every = sorted({name for role in ROLES for name in role.may}, key=_by_model)
    lines = [
        "| may | " + " | ".join(role.name for role in ROLES) + " |",
        "|---" * (len(ROLES) + 1) + "|",
    ]
    for name in every:
        marks = ("yes" if name in role.may else "" for role in ROLES)
        lines.append(f"| `{name}` | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def _by_model(name: str) -> tuple[str, str]:
    app, _dot, codename = name.partition(".")
    verb, _line, model = codename.partition("_")
    return f"{app}.{model or verb}", verb
