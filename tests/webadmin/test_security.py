"""What keeps strangers out and patients' data in."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, attempt, compose, make_alert, make_ecg, make_peer, mean
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from gateway.models import Instance
from webadmin.audit import Action
from webadmin.models import Deed

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "four plain words of hers"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    """Hash passwords in no time: how slowly it is done is Django's own affair."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada(db: None) -> User:
    """Return a member of staff with a password."""
    user = make_user("ada", is_superuser=True)
    user.set_password(PASSPHRASE)
    user.save()
    return user


def sign_in(client: Client, password: str, address: str = "10.0.0.1", name: str = "ada") -> int:
    """Try to sign in from an address; return the status."""
    form = {"username": name, "password": password}
    return client.post(reverse("admin:login"), form, REMOTE_ADDR=address).status_code


def is_in(client: Client) -> bool:
    """Return whether the Desk lets this browser in."""
    return client.get(reverse("admin:password_change")).status_code == 200


# --- passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weak", ["elevenchars", "password1234", "123456789012345", "ada-lovelace-1815"]
)
def test_weak_passwords_are_refused(weak: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(weak, User(username="ada-lovelace-1815"))
    validate_password(PASSPHRASE, User(username="ada"))


def test_who_guesses_is_locked_out_and_nobody_else(ada: User) -> None:
    guesser, owner = Client(), Client()
    statuses = [sign_in(guesser, f"guess {n}") for n in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    assert sign_in(guesser, PASSPHRASE) == 429, "the right one is no use to him any more"
    assert not is_in(guesser)
    assert sign_in(owner, PASSPHRASE, address="10.0.0.2") == 302
    assert is_in(owner)
    assert sign_in(Client(), "x", name="grace") == 200, "another name from there is not locked"
    assert Deed.objects.filter(action=Action.LOCKED_OUT, actor="ada", address="10.0.0.1").exists()


def test_the_page_of_who_is_locked_out_tells_no_name_apart(ada: User) -> None:
    pages = []
    for name in ("ada", "nobody-has-this-name"):
        browser = Client()
        for n in range(5):
            answer = browser.post(reverse("admin:login"), {"username": name, "password": f"{n}"})
        assert answer.status_code == 429
        pages.append(answer.content)
    assert b"too many attempts" in pages[0]
    assert pages[0] == pages[1]


def test_a_success_forgives_earlier_slips(ada: User) -> None:
    browser = Client()
    for _ in range(2):
        assert [sign_in(browser, "slip") for _ in range(4)] == [200] * 4
        assert sign_in(browser, PASSPHRASE) == 302


def test_behind_a_proxy_the_address_it_heard_is_locked_not_the_proxy(
    ada: User, settings: Settings
) -> None:
    settings.ECG_PROXIES = 1
    door, form = reverse("admin:login"), {"username": "ada", "password": "x"}
    for n in range(5):
        made_up = {"X-Forwarded-For": f"1.2.3.{n}, 10.9.9.9"}
        got = Client().post(door, form, headers=made_up, REMOTE_ADDR="127.0.0.1").status_code
    assert got == 429, "what stands before the proxy's entry is no way around"
    other = {"X-Forwarded-For": "10.9.9.8"}
    right = {"username": "ada", "password": PASSPHRASE}
    assert Client().post(door, right, headers=other, REMOTE_ADDR="127.0.0.1").status_code == 302


def test_a_changed_password_is_written_down_without_itself(ada: User) -> None:
    browser = signed_in(ada)
    form = {
        "old_password": PASSPHRASE,
        "new_password1": "five other plain words now",
        "new_password2": "five other plain words now",
    }
    assert browser.post(reverse("admin:password_change"), form).status_code == 302
    deed = Deed.objects.filter(action=Action.PASSWORD_CHANGED).latest("pk")
    assert (deed.actor, deed.subject, deed.detail) == ("ada", f"user {ada.pk}", {})


# --- sessions -------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return a list whose one number is what time it is for sessions."""
    now = [time.time()]
    monkeypatch.setattr("webadmin.security.time.time", lambda: now[0])
    return now  # type: ignore[return-value]


def test_who_does_nothing_is_signed_out_and_who_works_is_not(ada: User, clock: list[float]) -> None:
    browser = signed_in(ada)
    for _ in range(10):
        assert is_in(browser)
        clock[0] += 29 * 60
    clock[0] += 2 * 60
    assert not is_in(browser)
    assert Deed.objects.filter(action=Action.SIGNED_OUT, actor="ada").count() == 1


def test_nobody_stays_longer_than_a_shift(ada: User, clock: list[float]) -> None:
    browser = signed_in(ada)
    for _ in range(12 * 3):
        assert is_in(browser)
        clock[0] += 20 * 60
    clock[0] += 60
    assert not is_in(browser)


def test_a_session_is_written_once_a_minute_at_most(
    ada: User, clock: list[float], django_assert_max_num_queries: Any
) -> None:
    browser, page = signed_in(ada), reverse("admin:password_change")
    browser.get(page)
    clock[0] += 59
    with django_assert_max_num_queries(2):
        browser.get(page)
    clock[0] += 2
    assert "sessionid" in browser.get(page).cookies, "the cookie lives so much longer, too"


# --- what a browser is told -----------------------------------------------------------------------


def test_pages_run_no_script_that_stands_in_them(ada: User) -> None:
    answer = signed_in(ada).get(reverse("admin:index"))
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe-inline" not in policy["script-src"]
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    for header, value in {
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }.items():
        assert answer[header] == value
    assert "camera=()" in answer["Permissions-Policy"]
    assert "no-store" in answer["Cache-Control"]


def test_no_template_of_ours_has_a_script_or_a_handler_in_it() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|\son[a-z]+\s*=\s*[\"']|javascript:", re.IGNORECASE)
    templates = list((ROOT / "webadmin" / "templates").rglob("*.html"))
    assert len(templates) > 20
    assert [path.name for path in templates if inline.search(path.read_text())] == []


def test_every_form_needs_its_token(ada: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    for name in ("admin:gateway_peer_add", "admin:auth_user_add", "admin:logout", "upload_patient"):
        assert strict.post(reverse(name)).status_code == 403, name
    right = {"username": "ada", "password": PASSPHRASE}
    assert Client(enforce_csrf_checks=True).post(reverse("admin:login"), right).status_code == 403


def test_the_checks_for_deployment_find_nothing_behind_https(tmp_path: Path) -> None:
    secure = {"DJANGO_SETTINGS_MODULE": "gateway.settings", "ECG_HTTPS": "true",
              "ECG_DATA_DIR": str(tmp_path), "DATABASE_URL": "", "BROKER_URL": ""}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING", "--tag",
         "security"],
        cwd=ROOT, env={**os.environ, **secure}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_behind_https_cookies_are_secure_and_browsers_stay_there(tmp_path: Path) -> None:
    asked = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, "
        "s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS, s.SECURE_SSL_REDIRECT, s.ECG_PROXIES, "
        "s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_AGE)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings", "ECG_HTTPS": "true",
             "ECG_DATA_DIR": str(tmp_path), "ECG_SESSION_MINUTES": "10"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True", "31536000", "True", "1", "True", "600"]


# --- patients -------------------------------------------------------------------------------------

NAME, NUMBER = "Zzyzxmarker", "PID-93514-MARK"


@pytest.fixture
def patient(db: None) -> Instance:
    """Return the ECG of a patient who can be recognised, with all that comes of one."""
    ecg = analyse(
        make_ecg(patient_id=NUMBER, patient_name=f"{NAME}^Quentin", accession="ACC-93514-MARK"),
        {"af": 0.9},
    )
    report, peer = compose(ecg)[0], make_peer()
    mean(report, peer)
    attempt(report, peer)
    make_alert(ecg)
    return ecg


def links(page: str) -> set[str]:
    """Return the addresses of the Desk that a page leads to."""
    found = re.findall(r'(?:href|src|action)="(/desk/[^"#]*)"', page)
    return {address.replace("&amp;", "&") for address in found}


def test_a_search_leaves_no_patient_in_the_address(ada: User, patient: Instance) -> None:
    browser, other = signed_in(ada), make_ecg(patient_id="someone else")
    listing = reverse("admin:gateway_instance_changelist")
    away = browser.get(listing, {"q": NUMBER, "state": "waiting"})
    address = away["Location"]
    assert away.status_code == 302
    assert NUMBER not in address
    assert "state=waiting" in address
    shown = browser.get(listing + re.sub("state=waiting&?", "", address[len(listing) :]))
    page = shown.content.decode()
    assert f'alt="ECG {patient.pk}"' in page
    assert f'alt="ECG {other.pk}"' not in page
    assert f'value="{NUMBER}"' in page, "the box shows what was typed"
    assert all(NUMBER not in link for link in links(page))
    again = browser.get(listing, {"q": NUMBER})["Location"]
    assert again.rpartition("q=")[2] == re.search(r"q=([^&]+)", address)[1]  # type: ignore[index]
    stranger = signed_in(make_user("stranger", "view_instance"))
    assert 'alt="ECG' not in stranger.get(again).content.decode(), "it means nothing elsewhere"


def test_no_address_title_or_log_names_a_patient(
    ada: User, patient: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    """Every page that can be reached by following links, as a superuser, up to a limit."""
    caplog.set_level(logging.DEBUG)
    browser = signed_in(ada)
    waiting = {reverse("admin:index")}
    seen: set[str] = set()
    titles: list[str] = []
    named = 0
    while waiting and len(seen) < 150:
        address = waiting.pop()
        seen.add(address)
        if "logout" in address:
            continue
        answer = browser.get(address)
        assert answer.status_code < 500, address
        assert NAME not in answer.get("Location", "")
        if not answer.get("Content-Type", "").startswith("text/html"):
            continue
        page = answer.content.decode()
        named += NUMBER in page
        titles += re.findall(r"<title>(.*?)</title>", page, re.DOTALL)
        # One of each kind of sorting and filtering is as good as all of them.
        waiting |= {link for link in links(page) if "?" not in link} - seen
    assert len(seen) > 60
    assert named > 2, "the walk came past pages that do name the patient"
    for mark in (NAME, NUMBER, "ACC-93514-MARK"):
        assert [one for one in seen | waiting if mark in one] == []
        assert [one for one in titles if mark in one] == []
        told = [r.getMessage() for r in caplog.records if not r.name.startswith("django.db")]
        assert [one for one in told if mark in one] == []
