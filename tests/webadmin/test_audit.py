"""What people do is written down: who, what, from where, of which patient."""

from __future__ import annotations

from typing import Any

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import analyse, compose, fail, make_ecg, make_peer
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from gateway.models import Instance
from webadmin import audit
from webadmin.audit import Action
from webadmin.models import Deed
from webadmin.signin import signin_link


def deeds(action: str) -> list[Deed]:
    """Return what was done so, oldest first."""
    return list(Deed.objects.filter(action=action).order_by("pk"))


def page_of(row: Any) -> str:
    """Return the address of the page of a row."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


@pytest.fixture
def ecg(db: None) -> Instance:
    """Return an ECG of patient 7341902."""
    return analyse(make_ecg(patient_id="7341902", accession="ECG-26-1"), {"af": 0.9})


def test_page_and_picture_of_an_ecg_within_a_minute_are_one_look(
    reader: Client, ecg: Instance
) -> None:
    picture = reverse("admin:gateway_instance_picture", args=[ecg.pk])
    for address in (page_of(ecg), picture, page_of(ecg)):
        assert reader.get(address).status_code == 200
    (look,) = deeds(Action.VIEWED)
    assert (look.actor, look.subject, look.address) == ("reader", f"instance {ecg.pk}", "127.0.0.1")
    assert (look.patient_id, look.accession_number) == ("7341902", "ECG-26-1")
    assert look.uid == ecg.sop_instance_uid


def test_two_people_and_two_ecgs_are_looks_of_their_own(reader: Client, ecg: Instance) -> None:
    other = make_ecg()
    second = signed_in(make_user("second", *READ))
    for browser, row in ((reader, ecg), (reader, other), (second, ecg)):
        browser.get(page_of(row))
    assert len(deeds(Action.VIEWED)) == 3


def test_a_report_that_is_read_or_taken_is_written_down(reader: Client, ecg: Instance) -> None:
    report = compose(ecg)[0]
    reader.get(page_of(report))
    reader.get(reverse("admin:gateway_report_file", args=[report.pk]))
    (look,), (taken,) = deeds(Action.VIEWED), deeds(Action.DOWNLOADED)
    assert look.subject == taken.subject == f"report {report.pk}"
    assert look.patient_id == taken.patient_id == "7341902"
    assert taken.uid == report.sop_instance_uid


def test_a_list_names_what_it_showed_and_whom_it_was_searched_for(
    reader: Client, ecg: Instance
) -> None:
    other = make_ecg(patient_id="111")
    listing = reverse("admin:gateway_instance_changelist")
    reader.get(listing)
    reader.get(listing, {"q": "7341902"}, follow=True)
    every, one = deeds(Action.LISTED)
    assert sorted(every.detail["shown"]) == sorted([ecg.pk, other.pk])
    assert every.patient_id == ""
    assert one.detail == {"search": "7341902", "shown": [ecg.pk], "ecgs": [ecg.pk]}
    assert (one.patient_id, one.accession_number) == ("7341902", "ECG-26-1")


def test_small_pictures_are_looks_only_where_no_list_showed_them(
    reader: Client, ecg: Instance
) -> None:
    small = reverse("admin:gateway_instance_picture", args=[ecg.pk]) + "?size=thumbnail"
    reader.get(reverse("admin:gateway_instance_changelist"))
    reader.get(small)
    assert deeds(Action.VIEWED) == []
    signed_in(make_user("second", *READ)).get(small)
    (look,) = deeds(Action.VIEWED)
    assert look.actor == "second"


def test_writing_a_list_down_costs_it_one_statement(reader: Client, ecg: Instance) -> None:
    listing = reverse("admin:gateway_instance_changelist")
    reader.get(listing)
    with CaptureQueriesContext(connection) as asked:
        reader.get(listing)
    assert len([query for query in asked if "webadmin_deed" in query["sql"]]) == 1


def test_what_is_set_going_or_changed_names_the_person(chief: Client, ecg: Instance) -> None:
    fail(ecg, "no answer")
    chief.post(reverse("admin:gateway_instance_resume", args=[ecg.pk]))
    (resumed,) = deeds(Action.RESUMED)
    assert (resumed.actor, resumed.subject) == ("chief", f"instance {ecg.pk}")

    peer = make_peer()
    chief.post(reverse("admin:gateway_peer_delete", args=[peer.pk]), {"post": "yes"})
    (deleted,) = deeds(Action.DELETED)
    assert (deleted.subject, deleted.detail["what"]) == (f"peer {peer.pk}", str(peer))


def test_roles_given_and_taken_are_named(chief: Client) -> None:
    user, group = make_user("nurse"), Group.objects.create(name="wardens")
    Deed.objects.all()._raw_delete("default")
    form = {
        "username": "nurse",
        "is_active": "on",
        "is_staff": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "10:00",
    }
    assert chief.post(page_of(user), form | {"groups": [group.pk]}).status_code == 302
    assert chief.post(page_of(user), form).status_code == 302
    given, taken = deeds(Action.ROLES_CHANGED)
    assert (given.actor, given.subject, given.detail) == (
        "chief",
        f"user {user.pk}",
        {"added": ["wardens"]},
    )
    assert taken.detail == {"removed": ["wardens"]}
    assert [deed.actor for deed in deeds(Action.CHANGED)] == ["chief", "chief"]


def test_coming_failing_and_going_are_written_down(client: Client, db: None) -> None:
    user = make_user("ada")
    user.set_password("a long pass phrase of hers")
    user.save()
    door = reverse("admin:login")
    client.post(door, {"username": "ada", "password": "wrong"})
    client.post(door, {"username": "my-password-typed-here", "password": "wrong"})
    client.post(door, {"username": "ada", "password": "a long pass phrase of hers"})
    client.post(reverse("admin:logout"))
    known, unknown = deeds(Action.SIGN_IN_FAILED)
    assert (known.actor, known.detail) == ("ada", {"is_known": True})
    assert (unknown.actor, unknown.detail) == ("", {"is_known": False})
    assert [deeds(action)[0].actor for action in (Action.SIGNED_IN, Action.SIGNED_OUT)] == [
        "ada",
        "ada",
    ]


def test_a_sign_in_link_is_written_down_when_it_is_made(db: None) -> None:
    signin_link("first", "http://localhost")
    (made,) = deeds(Action.LINK_MADE)
    user = User.objects.get(username="first")
    assert (made.actor, made.subject) == ("manage.py signin", f"user {user.pk}")


def test_the_address_is_the_one_our_own_proxy_heard(settings: Settings) -> None:
    asked = RequestFactory().get("/", headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.7"})
    settings.ECG_PROXIES = 0
    assert audit.client_address(asked) == "127.0.0.1"
    settings.ECG_PROXIES = 1
    assert audit.client_address(asked) == "10.0.0.7", "what stands before it may be made up"


def test_no_deed_is_changed_or_deleted(db: None) -> None:
    deed = audit.record(Action.READ, actor="ada", subject="instance 1")
    assert deed is not None
    deed.actor = "eve"
    with pytest.raises(TypeError):
        deed.save()
    with pytest.raises(TypeError):
        deed.delete()
