"""Training sets at the Desk: what would be frozen, what is in a set, and what would leave of it."""

from __future__ import annotations

import io
import zipfile

import pytest
from desk_people import READ, make_user, signed_in
from desk_readings import ecg, label, reader
from desk_rows import analyse, drawn, make_ecg
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image

from webadmin import trainingsets
from webadmin.admin import trainingsets as screen
from webadmin.models import Deed, SplitOpening, TrainingSet

pytestmark = pytest.mark.django_db

LIST = "/desk/webadmin/trainingset/"
FREEZE = "/desk/webadmin/trainingset/freeze/"


@pytest.fixture
def manager() -> User:
    return make_user("manager", *READ, "view_trainingset", "freeze_trainingset",
                     "export_trainingset", "view_label")  # fmt: skip


def page(browser: Client, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def frozen(by: User, *, pictures: int = 3) -> TrainingSet:
    """Return a set of ECGs with pictures, whose patients are on both sides of the lock."""
    anna, number = reader("anna"), 0
    wanted = {"training": pictures, "test": 1}
    while any(wanted.values()):
        number += 1
        split = trainingsets._drawn(f"patient P{number}")
        if wanted.get(split, 0):
            wanted[split] -= 1
            row = analyse(make_ecg(drawn(), patient_id=f"P{number}"), {"normal": 0.9})
            label(row, anna, "normal")
    return trainingsets.freeze("spring", by)


def test_an_empty_desk_says_where_labels_come_from(manager: User) -> None:
    assert "Read some under Reading list or Curation" in page(signed_in(manager), FREEZE)
    assert "Freeze a training set" in page(signed_in(manager), LIST)


def test_what_is_missing_is_said_before_a_set_is_frozen_and_stays_on_its_page(
    manager: User,
) -> None:
    for number in range(3):
        label(ecg(patient_id=f"P{number}"), reader(f"reader{number}"), "af")
    browser = signed_in(manager)
    before = page(browser, FREEZE)
    assert "3 ECGs would be frozen" in before
    assert "Fewer than 10 ECGs" in before or "No ECG in the" in before
    assert not TrainingSet.objects.exists()
    answer = browser.post(FREEZE, {"name": "spring", "note": "the first"})
    made = TrainingSet.objects.get()
    assert (made.name, made.note, made.frozen_by) == ("spring", "the first", manager)
    after = page(browser, answer["Location"])
    assert made.sha256 in after
    assert "Fewer than 10 ECGs" in after or "No ECG in the" in after
    assert "Never: it is locked" in after
    assert "Nothing has changed since this set was frozen" in page(browser, FREEZE)
    assert Deed.objects.filter(action="freeze", actor="manager").exists()


def test_a_name_that_is_taken_is_asked_for_again(manager: User) -> None:
    label(ecg(), reader("anna"), "af")
    trainingsets.freeze("spring", manager)
    label(ecg(), User.objects.get(username="anna"), "pvc")
    answer = signed_in(manager).post(FREEZE, {"name": "spring", "note": "kept"})
    told = answer.content.decode()
    assert "Not frozen: a training set of this name exists" in told
    assert 'value="kept"' in told


def test_who_may_not_freeze_or_export_does_not(manager: User) -> None:
    made = frozen(manager, pictures=1)
    guest = signed_in(make_user("guest", "view_trainingset"))
    assert "Freeze a training set" not in page(guest, LIST)
    assert "See what would leave" not in page(guest, f"{LIST}{made.pk}/change/")
    assert guest.get(FREEZE).status_code == 403
    assert guest.get(f"{LIST}{made.pk}/preview/").status_code == 403
    assert guest.post(f"{LIST}{made.pk}/export/", {"looked": "yes"}).status_code == 403
    blind = signed_in(make_user("blind", "view_trainingset", "export_trainingset"))
    assert blind.get(f"{LIST}{made.pk}/preview/").status_code == 403


def test_the_preview_shows_before_and_after_of_what_is_not_locked(manager: User) -> None:
    made = frozen(manager)
    browser = signed_in(manager)
    shown = page(browser, f"{LIST}{made.pk}/preview/")
    assert shown.count("/picture/") == shown.count("/tracing/") == 3
    item = trainingsets.open_items(made).first()
    assert item is not None
    answer = browser.get(reverse("admin:webadmin_trainingset_tracing", args=[made.pk, item.pk]))
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.mode == "L"
    locked = made.items.get(split="test")
    closed = reverse("admin:webadmin_trainingset_tracing", args=[made.pk, locked.pk])
    assert browser.get(closed).status_code == 404


def test_an_archive_leaves_once_a_person_has_looked(manager: User) -> None:
    made = frozen(manager)
    browser, door = signed_in(manager), f"{LIST}{made.pk}/export/"
    assert browser.post(door).status_code == 302
    assert not Deed.objects.filter(action="export").exists()
    answer = browser.post(door, {"looked": "yes"})
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        assert sorted(names) == [
            "SHA256SUMS", "labels.csv", "manifest.csv",
            "pictures/1.png", "pictures/2.png", "pictures/3.png",
        ]  # fmt: skip
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert not SplitOpening.objects.exists()
    answer = browser.post(door, {"looked": "yes", "purpose": "a reader study"})
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:  # type: ignore[attr-defined]
        assert len(archive.namelist()) == 7
    assert SplitOpening.objects.get().purpose == "a reader study"
    assert "a reader study" in page(browser, f"{LIST}{made.pk}/change/")


def test_a_large_set_is_exported_by_command(manager: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made = frozen(manager)
    monkeypatch.setattr(screen, "MAX_AT_DESK", 2)
    browser = signed_in(manager)
    assert "manage.py trainingset export" in page(browser, f"{LIST}{made.pk}/preview/")
    answer = browser.post(f"{LIST}{made.pk}/export/", {"looked": "yes"}, follow=True)
    assert "Too many for a browser" in answer.content.decode()


def test_the_list_costs_the_same_for_many_sets(manager: User) -> None:
    browser = signed_in(manager)
    anna = reader("anna")

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            page(browser, LIST)
        return len(asked)

    label(ecg(), anna, "af")
    trainingsets.freeze("first", manager)
    page(browser, LIST)
    few = cost()
    for number in range(5):
        label(ecg(), anna, "af")
        trainingsets.freeze(f"set {number}", manager)
    assert cost() <= few <= 9
