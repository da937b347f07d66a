"""Help: each screen says what it is for, an empty one what to do first, and docs tell each role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from desk_people import make_user, signed_in
from desk_rows import make_association
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

import webadmin
from webadmin import help as desk_help
from webadmin import roles

DOCS = Path(webadmin.__file__).parents[1] / "docs" / "desk"
SAYS = re.compile(
    r'class="(desk-purpose|curation-lead|desk-card runs-intro|[^"]*desk-before-list[^"]*)"'
    r'|<p class="desk-quiet-text">ECGs that the network has read'
)
"""How a screen says what it is for: above its list, or at its top."""
PICTURE = re.compile(r"!\[[^]]+\]\(([^)]+)\)")
LARGEST_BYTES = 150_000


@pytest.fixture
def chief(db: None) -> Client:
    return signed_in(make_user("chief", is_superuser=True))


def lists() -> dict[str, str]:
    return {
        model._meta.label_lower: reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        )
        for model in admin.site._registry
    }


def test_every_screen_says_in_a_sentence_what_it_is_for(chief: Client) -> None:
    own = [reverse(name) for name in ("admin:index", "reading_list", "upload", "curation",
                                      "agreement", "help")]  # fmt: skip
    silent = [
        address
        for address in (*lists().values(), *own)
        if not SAYS.search(chief.get(address).content.decode())
    ]
    assert silent == []


def test_what_is_said_is_said_of_screens_that_there_are() -> None:
    screens = {"index", "upload", *lists()}
    assert set(desk_help.PURPOSES) <= screens
    assert set(desk_help.FIRST) <= screens


@pytest.mark.parametrize("model", sorted(desk_help.FIRST))
def test_an_empty_list_says_what_to_do_first(chief: Client, model: str) -> None:
    page = chief.get(lists()[model]).content.decode()
    assert desk_help.FIRST[model] in page


def test_a_list_with_rows_does_not_say_what_to_do_first(chief: Client) -> None:
    address = reverse("admin:gateway_association_changelist")
    assert "appear here by themselves" in chief.get(address).content.decode()
    make_association()
    assert "appear here by themselves" not in chief.get(address).content.decode()


def test_ones_own_role_comes_first_with_links_and_the_others_without(db: None) -> None:
    list(roles.renew())
    user = make_user("rita")
    user.groups.add(Group.objects.get(name="reader"))
    page = signed_in(user).get(reverse("help")).content.decode()
    cards = page.split('<section class="desk-card">')[2:]
    assert len(cards) == len(roles.ROLES)
    assert "Reader" in cards[0]
    assert "your role" in cards[0]
    assert f'href="{reverse("reading_list")}"' in cards[0]
    assert all("desk-link" not in card and "your role" not in card for card in cards[1:])


def test_everybody_finds_the_help(db: None) -> None:
    page = signed_in(make_user("nobody")).get(reverse("admin:index")).content.decode()
    assert f'href="{reverse("help")}"' in page


def test_every_link_leads_where_its_role_may_go(db: None) -> None:
    list(roles.renew())
    assert set(desk_help.TASKS) == {role.name for role in roles.ROLES}
    for name, tasks in desk_help.TASKS.items():
        user = make_user(name)
        user.groups.add(Group.objects.get(name=name))
        browser = signed_in(user)
        for task in tasks:
            if task.at:
                assert browser.get(reverse(task.at)).status_code == 200, (name, task.at)


@pytest.mark.parametrize("role", [role.name.replace(" ", "-") for role in roles.ROLES])
def test_every_role_has_a_page_with_pictures_that_are_small(role: str) -> None:
    pictures = PICTURE.findall((DOCS / f"{role}.md").read_text())
    assert pictures
    for name in pictures:
        assert name.startswith((role, "help")), name
        assert 1000 < (DOCS / name).stat().st_size < LARGEST_BYTES, name
    assert f"({role}.md)" in (DOCS / "README.md").read_text()
