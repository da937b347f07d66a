"""Who may do what: every address and every action of the Desk, for every role."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from desk_people import make_user, signed_in
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.http import Http404, JsonResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse

from webadmin import reading, roles
from webadmin.models import Deed

# --- what each address needs ----------------------------------------------------------------------

EVERYBODY: Final = "everybody"
STAFF: Final = "staff"
NOBODY: Final = "nobody"

FACTS: Final = {
    f"gateway.{name}"
    for name in (
        "alert", "association", "commitment", "custodyrequest", "delivery", "dispatch", "disposal",
        "instance", "modelversion", "report", "study", "transition",
    )
} | {
    f"webadmin.{name}" for name in ("auditlink", "label", "trainingrun", "trainingset")
}  # fmt: skip
"""Models whose rows are looked at by who may view them and changed by nobody."""

SET_UP: Final = {
    "gateway.peer",
    "gateway.rule",
    "gateway.alertrule",
    "auth.user",
    "auth.group",
    "webadmin.guideline",
}
"""Models whose rows are made by people, by Django's own permissions."""

NEEDS: Final[dict[str, str]] = {
    "home": EVERYBODY,
    "healthz": EVERYBODY,
    "signin": EVERYBODY,
    "admin:login": EVERYBODY,
    "admin:logout": EVERYBODY,
    "admin:index": STAFF,
    "help": STAFF,
    "set_language": EVERYBODY,
    "admin:search": STAFF,
    "admin:password_change": STAFF,
    "admin:password_change_done": STAFF,
    "admin:jsi18n": STAFF,
    "upload": "gateway.add_instance",
    "upload_patient": "gateway.add_instance",
    "upload_found": "gateway.add_instance",
    "upload_file": "gateway.add_instance",
    "upload_result": "gateway.add_instance",
    "admin:gateway_instance_picture": "gateway.view_instance",
    "admin:gateway_instance_resume": "gateway.change_instance",
    "admin:gateway_report_file": "gateway.view_report",
    "admin:gateway_report_look": "gateway.view_report",
    "admin:gateway_alert_again": "gateway.change_alert",
    "admin:gateway_refusedoutput_again": "gateway.change_peer",
    "admin:gateway_rule_test": "gateway.view_rule",
    "admin:auth_user_password_change": "auth.change_user",
    "reading_list": "gateway.view_instance",
    "reading": "gateway.view_instance",
    "reading_map": "gateway.view_instance",
    "curation": "webadmin.view_assignment",
    "curation_take": "webadmin.add_reading",
    "curation_release": "webadmin.view_assignment",
    "curation_fill": "webadmin.add_assignment",
    "curation_request": "webadmin.add_assignment",
    "agreement": "webadmin.view_reading",
    "adjudicate": "webadmin.adjudicate",
    "admin:gateway_modelversion_promote": "webadmin.promote_modelversion",
    "admin:gateway_modelversion_roll_back": "webadmin.promote_modelversion",
    "admin:gateway_modelversion_shadow": "gateway.change_modelversion",
    "admin:webadmin_label_import": "webadmin.import_label",
    "admin:webadmin_label_export": "webadmin.export_label",
    "admin:webadmin_trainingset_freeze": "webadmin.freeze_trainingset",
    "admin:webadmin_trainingset_preview": "webadmin.export_trainingset",
    "admin:webadmin_trainingset_tracing": "webadmin.export_trainingset",
    "admin:webadmin_trainingset_export": "webadmin.export_trainingset",
    "admin:webadmin_trainingrun_start": "webadmin.add_trainingrun",
    "admin:webadmin_trainingrun_live": "webadmin.view_trainingrun",
    "admin:webadmin_trainingrun_cancel": "webadmin.change_trainingrun",
    "admin:webadmin_trainingrun_evaluate": "webadmin.change_trainingrun",
}

ACTIONS: Final = {
    ("gateway.instance", "resume_selected"): "gateway.change_instance",
    ("gateway.dispatch", "withdraw_selected"): "gateway.change_instance",
    ("gateway.custodyrequest", "answer_again"): "gateway.change_custodyrequest",
    ("gateway.peer", "call_again"): "gateway.change_peer",
    **{
        (model, "delete_selected"): f"{model.replace('.', '.delete_')}"
        for model in SET_UP - {"gateway.peer", "webadmin.guideline"}
    },
}
POSTED: Final = {
    "upload_patient", "upload_found", "upload_file", "admin:gateway_instance_resume",
    "admin:gateway_alert_again", "admin:gateway_refusedoutput_again", "admin:logout",
    "curation_take", "curation_release", "curation_fill", "curation_request",
    "admin:webadmin_label_export", "admin:webadmin_trainingset_export",
    "admin:gateway_modelversion_shadow", "admin:webadmin_trainingrun_cancel",
    "admin:webadmin_trainingrun_evaluate",
}  # fmt: skip
"""Addresses that answer to POST alone."""

UNNAMED: Final = {"admin:None", "admin:app_list", "admin:view_on_site", "admin:autocomplete"}
"""Django's own: redirects, and what asks for the permissions of the model it is asked about."""


def needed(name: str) -> str:
    """Return the permission that an address needs; KeyError where nobody has said which."""
    if name in NEEDS:
        return NEEDS[name]
    found = re.fullmatch(r"admin:([a-z]+)_([a-z]+)_(changelist|add|change|delete)", name)
    if found is None:
        raise KeyError(name)
    app, model, verb = found.groups()
    label = f"{app}.{model}"
    if label in FACTS:
        return f"{app}.view_{model}" if verb in ("changelist", "change") else NOBODY
    if label in SET_UP:
        looks = verb in ("changelist", "change")
        return f"{app}.{'view' if looks else verb}_{model}"
    raise KeyError(name)


def named_addresses(resolver: Any = None, space: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the name of every address, with arguments that lead to no row."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from named_addresses(entry, inner)
        elif isinstance(entry, URLPattern):
            converters = entry.pattern.converters
            yield f"{space}{entry.name}", dict.fromkeys(converters, 999_999)


ADDRESSES: Final = {
    name: at
    for name, at in named_addresses()
    # Of a row that is not there Django tells nobody a history, before it asks who it is.
    if name not in UNNAMED and not name.endswith("_history")
}


def test_every_address_says_what_it_needs() -> None:
    unsaid = []
    for name in ADDRESSES:
        try:
            needed(name)
        except KeyError:
            unsaid.append(name)
    assert unsaid == [], "say in NEEDS, FACTS or SET_UP who may go there"


def test_every_action_says_what_it_needs() -> None:
    found = {
        (model._meta.label_lower, name)
        for model, screen in admin.site._registry.items()
        for name in screen.get_actions(_request(User(is_superuser=True, is_staff=True)))
    }
    assert found == set(ACTIONS)


# --- whether it is so -----------------------------------------------------------------------------


@pytest.fixture
def people(db: None) -> dict[str, User]:
    """Return one person of each role, and one with none."""
    list(roles.renew())
    found = {"nobody": make_user("nobody")}
    for role in roles.ROLES:
        found[role.name] = make_user(role.name)
        found[role.name].groups.add(Group.objects.get(name=role.name))
    return found


def has(role: str, permission: str) -> bool:
    """Return whether the table gives a role what an address needs."""
    may = {one.name: one.may for one in roles.ROLES}.get(role, frozenset())
    return permission in (EVERYBODY, STAFF) or permission in may


def ask(user: User, name: str) -> int:
    """Ask an address as its view is asked, and return the status; the page is not drawn."""
    address = reverse(name, kwargs=ADDRESSES[name])
    factory = RequestFactory()
    request = (factory.post if name in POSTED else factory.get)(address)
    request.user, request.session = user, SessionStore()
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    view, arguments, named = resolve(address)
    try:
        answer = view(request, *arguments, **named)
    except PermissionDenied:
        return 403
    except Http404:
        return 404
    is_let_in = isinstance(answer, JsonResponse)  # whose 403 is of a ticket, not of a person
    return 200 if is_let_in else int(answer.status_code)


def test_every_role_gets_where_it_may_and_nowhere_else(people: dict[str, User]) -> None:
    wrong = []
    for role, user in people.items():
        for name in ADDRESSES:
            got = ask(user, name)
            assert got < 500, name
            if (got not in (403, 405)) != has(role, needed(name)):
                wrong.append((role, name, got))
    assert wrong == [], wrong


def test_a_visitor_gets_nowhere_but_to_the_door(client: Client, db: None) -> None:
    for name, arguments in ADDRESSES.items():
        if needed(name) == EVERYBODY:
            continue
        address = reverse(name, kwargs=arguments)
        answer = client.post(address) if name in POSTED else client.get(address)
        assert answer.status_code == 302, name
        assert answer["Location"].startswith(reverse("admin:login")), name


def _request(user: User) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


def test_a_history_is_for_who_may_look_at_the_page(people: dict[str, User]) -> None:
    page = reverse("admin:auth_user_history", args=[people["nobody"].pk])
    got = {role: signed_in(user).get(page).status_code for role, user in people.items()}
    assert {role for role, status in got.items() if status == 200} == {"auditor", "administrator"}
    assert set(got.values()) == {200, 403}


def test_every_role_has_the_actions_it_may_do_and_no_other(people: dict[str, User]) -> None:
    wrong = []
    for role, user in people.items():
        for model, screen in admin.site._registry.items():
            offered = set(screen.get_actions(_request(User.objects.get(pk=user.pk))))
            for (label, name), permission in ACTIONS.items():
                if label == model._meta.label_lower and (name in offered) != has(role, permission):
                    wrong.append((role, label, name))
    assert wrong == [], wrong


# --- the groups -----------------------------------------------------------------------------------


def test_the_command_makes_the_roles_and_brings_them_back(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/ecg-gateway/manage.py", "roles"])
    out = io.StringIO()
    call_command("roles", stdout=out)
    assert out.getvalue().count("made, with") == len(roles.ROLES)
    group = Group.objects.get(name="auditor")
    group.permissions.add(Permission.objects.get(codename="change_peer"))
    group.permissions.remove(Permission.objects.get(codename="view_auditlink"))
    out = io.StringIO()
    call_command("roles", stdout=out)
    assert "auditor: 1 given, 1 taken" in out.getvalue()
    assert out.getvalue().count("as it should be") == len(roles.ROLES) - 1
    assert {
        f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()
    } == roles.ROLES[0].may
    deeds = Deed.objects.filter(action="roles", subject=f"group {group.pk}")
    assert set(deeds.values_list("actor", flat=True)) == {"manage.py roles"}


def test_duties_are_kept_apart() -> None:
    may = {role.name: role.may for role in roles.ROLES}
    changes = {name for name in may["auditor"] if not name.split(".")[1].startswith("view_")}
    assert changes == set(), "an auditor changes nothing"
    assert [name for name, of in may.items() if "webadmin.view_auditlink" in of] == ["auditor"]
    assert [name for name, of in may.items() if "webadmin.promote_modelversion" in of] == [
        "engineer"
    ]
    assert [name for name, of in may.items() if "webadmin.verify_report" in of] == ["reader"]
    assert [name for name, of in may.items() if "auth.change_user" in of] == ["administrator"]
    assert not {p for p in may["administrator"] if not p.startswith("auth.")}
    assert not any(p.startswith("auth.change_group") for of in may.values() for p in of)


def test_the_document_shows_the_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "ROLES.md"
    assert roles.table() in page.read_text()
    for role in roles.ROLES:
        assert role.purpose in page.read_text()


# --- nobody lifts himself up ----------------------------------------------------------------------

FORM: Final = {"is_active": "on", "is_staff": "on", "date_joined_0": "2026-01-01",
               "date_joined_1": "10:00"}  # fmt: skip


def test_an_administrator_gives_roles_but_no_more_than_these(people: dict[str, User]) -> None:
    browser, user = signed_in(people["administrator"]), people["nobody"]
    page = reverse("admin:auth_user_change", args=[user.pk])
    reader = Group.objects.get(name="reader")
    lift = {"is_superuser": "on", "user_permissions": [Permission.objects.all()[0].pk]}
    form = FORM | {"username": "nobody", "groups": [reader.pk]} | lift
    assert browser.post(page, form).status_code == 302
    user.refresh_from_db()
    assert list(user.groups.all()) == [reader]
    assert not user.is_superuser
    assert not user.user_permissions.exists()


def test_an_administrator_does_not_take_over_a_superuser(people: dict[str, User]) -> None:
    browser = signed_in(people["administrator"])
    chief = make_user("chief", is_superuser=True)
    page = reverse("admin:auth_user_change", args=[chief.pk])
    assert browser.post(page, FORM | {"username": "mine"}).status_code == 403
    door = reverse("admin:auth_user_password_change", args=[chief.pk])
    secret = {"password1": "another long phrase 7", "password2": "another long phrase 7"}
    assert browser.post(door, secret).status_code == 403
    chief.refresh_from_db()
    assert (chief.username, chief.password) == ("chief", "!")


def test_an_administrator_makes_accounts_but_gives_nobody_the_name_of_another(
    people: dict[str, User],
) -> None:
    browser, user = signed_in(people["administrator"]), people["nobody"]
    page = reverse("admin:auth_user_change", args=[user.pk])
    names = {"username": "okafor", "first_name": "Ngozi", "last_name": "Okafor"}
    assert browser.post(page, FORM | names).status_code == 302
    user.refresh_from_db()
    assert (user.username, user.get_full_name()) == ("nobody", "Ngozi Okafor"), "it had none"
    other = {"username": "nobody", "first_name": "Ada", "last_name": "Lovelace"}
    assert browser.post(page, FORM | other).status_code == 302
    user.refresh_from_db()
    assert user.get_full_name() == "Ngozi Okafor"
    secret = {"password1": "another long phrase 7", "password2": "another long phrase 7"}
    added = browser.post(reverse("admin:auth_user_add"), {**names, **secret})
    assert added.status_code == 302
    made = User.objects.get(username="okafor")
    assert made.last_name == "Okafor"
    assert "family name" not in reading.unverifiable(made)


def test_the_visitor_of_django_has_no_permission() -> None:
    assert not AnonymousUser().has_perm("gateway.view_instance")
