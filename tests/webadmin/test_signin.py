"""A sign-in link works once, for one person, for an hour, and is not spent by being looked at."""

from __future__ import annotations

import datetime
import io
import threading
from typing import Any
from urllib.parse import quote

import pytest
from desk_people import make_user
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from webadmin import signin
from webadmin.signin import LINK_LIFETIME_S, signin_link

HERE = "http://testserver"
pytestmark = pytest.mark.django_db


def signed_in_as(browser: Client) -> str | None:
    """Return who is signed in, None for nobody."""
    pk = browser.session.get("_auth_user_id")
    return None if pk is None else User.objects.get(pk=pk).username


def test_a_link_signs_its_user_in_once(client: Client) -> None:
    link = signin_link("demo", HERE)
    answer = client.post(link)
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
    assert signed_in_as(client) == "demo"
    assert client.get(reverse("admin:index")).status_code == 200

    second = Client()
    assert second.post(link).status_code == 410
    assert second.get(link).status_code == 410
    assert signed_in_as(second) is None


def test_looking_at_a_link_spends_nothing_and_signs_nobody_in(client: Client) -> None:
    link = signin_link("demo", HERE)
    for _ in range(3):
        answer = client.get(link)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
    assert client.head(link).status_code == 200
    assert signed_in_as(client) is None
    assert client.post(link).status_code == 302


def test_the_button_is_guarded_against_other_sites() -> None:
    strict = Client(enforce_csrf_checks=True)
    link = signin_link("demo", HERE)
    assert strict.post(link).status_code == 403
    strict.get(link)
    token = strict.cookies["csrftoken"].value
    assert strict.post(link, {"csrfmiddlewaretoken": token}).status_code == 302


def test_a_new_user_is_a_superuser_whom_no_password_lets_in() -> None:
    signin_link("demo", HERE)
    user = User.objects.get(username="demo")
    assert user.is_superuser
    assert not user.has_usable_password()


def test_an_existing_user_is_left_as_it_is() -> None:
    make_user("nurse", "view_instance")
    signin_link("nurse", HERE)
    assert not User.objects.get(username="nurse").is_superuser


def test_two_links_of_one_user_are_both_spent_by_the_first_login(client: Client) -> None:
    first, second = signin_link("demo", HERE), signin_link("demo", HERE)
    assert client.post(first).status_code == 302
    assert Client().post(second).status_code == 410


def test_a_link_made_and_used_within_the_second_of_the_last_login_is_spent_too() -> None:
    assert Client().post(signin_link("demo", HERE)).status_code == 302
    link = signin_link("demo", HERE)
    assert Client().post(link).status_code == 302
    assert Client().post(link).status_code == 410


def test_a_link_dies_after_an_hour(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    link = signin_link("demo", HERE)
    made_at = datetime.datetime.now()

    def later(seconds: float) -> None:
        moment = made_at + datetime.timedelta(seconds=seconds)
        monkeypatch.setattr(signin.tokens, "_now", lambda: moment)

    later(LINK_LIFETIME_S + 5)
    assert client.get(link).status_code == client.post(link).status_code == 410
    later(LINK_LIFETIME_S - 5)
    assert client.get(link).status_code == 200


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_someone_who_has_left_gets_neither_a_link_nor_in(
    client: Client, change: dict[str, Any]
) -> None:
    link = signin_link("demo", HERE)
    User.objects.update(**change)
    assert client.post(link).status_code == 410
    with pytest.raises(ValueError, match="active member of staff"):
        signin_link("demo", HERE)
    with pytest.raises(CommandError, match="active member of staff"):
        call_command("signin", "--user", "demo")


def test_one_users_token_is_not_anothers(client: Client) -> None:
    token = signin_link("demo", HERE).split("/")[-2]
    other = signin_link("other", HERE).split("/")[-3]
    assert client.post(reverse("signin", args=[other, token])).status_code == 410


@settings(max_examples=40)
@given(who=st.text("AQMxw-_=~%", max_size=12), token=st.text("abc123-é", max_size=20))
def test_no_made_up_link_is_an_error(who: str, token: str) -> None:
    assert Client().get(f"/signin/{quote(who)}/{quote(token)}/").status_code in (404, 410)


@pytest.mark.django_db(transaction=True)
def test_of_two_presses_at_once_one_wins() -> None:
    link = signin_link("demo", HERE)
    barrier = threading.Barrier(2)
    answers: list[int] = []

    def press() -> None:
        browser = Client()
        barrier.wait()
        try:
            answers.append(browser.post(link).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [302, 410]


def test_the_command_prints_a_link_that_works(client: Client) -> None:
    out = io.StringIO()
    call_command("signin", "--user", "chief", "--base-url", f"{HERE}/", stdout=out)
    link = out.getvalue().strip()
    assert link.startswith(f"{HERE}/signin/")
    assert client.post(link).status_code == 302
    assert signed_in_as(client) == "chief"
    assert User.objects.get(username="chief").last_login <= timezone.now()  # type: ignore[operator]
