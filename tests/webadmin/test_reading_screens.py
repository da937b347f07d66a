"""The reading list and the reading page: what they show, to whom, and what a POST can do."""

from __future__ import annotations

import datetime
import io
import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, compose, drawn, make_alert, make_ecg
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from pydicom import Dataset
from pytest_django import Settings

from gateway.models import Instance, Review
from models.labels import KEYS
from webadmin import labelling
from webadmin.callipers import calibration_of
from webadmin.models import Assignment, Label, Reading

pytestmark = pytest.mark.django_db

LIST = "/desk/reading/"
AF = {**dict.fromkeys(KEYS, "absent"), "af": "present"}


@pytest.fixture
def cardiologist() -> User:
    return make_user("okafor", "view_instance", "add_reading")


@pytest.fixture
def browser(cardiologist: User) -> Client:
    return signed_in(cardiologist)


def ecg(*, minutes_ago: int = 0, sender: str = "CART", **probabilities: float) -> Instance:
    at = timezone.now() - datetime.timedelta(minutes=minutes_ago)
    row = make_ecg(data=b"", received_at=at, calling_title=sender)
    return analyse(row, probabilities or {"af": 0.93})


def listed(browser: Client, **query: str | int) -> list[int]:
    """Return the ECGs of the list, in its order."""
    answer = browser.get(LIST, query)
    assert answer.status_code == 200
    return [int(number) for number in re.findall(r'alt="Picture of ECG (\d+)"', text_of(answer))]


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def address(row: Instance, query: str = "") -> str:
    return f"{reverse('reading', args=[row.pk])}{query}"


def form(row: Instance, decision: str = "confirmed", **more: str) -> dict[str, str]:
    """Return what the page of an ECG sends."""
    latest = row.readings.first()
    seen = {"latest": str(latest.pk) if latest else "", "shown": str(row.model_version_id)}
    return {"decision": decision, "comment": "", "took_s": "3.5", **seen, **more}


def toggles(**words: str) -> dict[str, str]:
    return {f"finding_{key}": word for key, word in (AF | words).items()}


# --- the list ------------------------------------------------------------------------------------


def test_the_list_has_what_was_analysed_and_not_read_the_newest_first(
    browser: Client, cardiologist: User
) -> None:
    old, new = ecg(minutes_ago=9), ecg(minutes_ago=1)
    make_ecg(data=b"")
    seen = ecg()
    Reading.objects.create(instance=seen, reader=cardiologist, decision="confirmed", findings=AF)
    assert listed(browser) == [new.pk, old.pk]
    assert listed(browser, show="read") == [seen.pk]
    assert listed(browser, show="all") == [seen.pk, new.pk, old.pk]


def test_what_raised_an_alert_or_shows_an_urgent_finding_comes_first(
    browser: Client, settings: Settings
) -> None:
    alarmed, plain, urgent = ecg(minutes_ago=9), ecg(minutes_ago=5), ecg(minutes_ago=7, afl=0.9)
    make_alert(alarmed)
    assert listed(browser) == [alarmed.pk, plain.pk, urgent.pk]
    settings.ECG_URGENT_FINDINGS = ["afl"]
    assert listed(browser) == [urgent.pk, alarmed.pk, plain.pk]
    assert listed(browser, order="newest") == [plain.pk, urgent.pk, alarmed.pk]
    assert text_of(browser.get(LIST)).count("reading-badge-urgent") == 2


def test_filters_narrow_by_doubt_sender_and_finding(browser: Client, cardiologist: User) -> None:
    doubtful, flutter = ecg(minutes_ago=3, af=0.3), ecg(minutes_ago=2, afl=0.9, sender="MUSE")
    disputed = ecg(minutes_ago=1)
    Reading.objects.create(instance=disputed, reader=cardiologist, decision="overridden")
    assert listed(browser, doubt="undetermined") == [doubtful.pk]
    assert listed(browser, doubt="disagreement", show="all") == [disputed.pk]
    assert listed(browser, sender="MUSE") == [flutter.pk]
    assert listed(browser, finding="afl") == [flutter.pk]
    assert listed(browser, finding="af") == []
    assert listed(browser, finding="nothing", doubt="x", show="y") == [flutter.pk, doubtful.pk]
    assert "Reader disagrees" in text_of(browser.get(LIST, {"show": "read"}))


def test_pages_follow_rows_so_that_none_is_shown_twice_or_left_out(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webadmin.reading_list.PAGE_ROWS", 3)
    at = timezone.now()
    rows = [analyse(make_ecg(data=b"", received_at=at), {}) for _ in range(4)]
    rows += [ecg(minutes_ago=minutes) for minutes in range(1, 5)]
    make_alert(rows[6])
    seen: list[int] = []
    query = ""
    while True:
        shown = text_of(browser.get(f"{LIST}?{query}"))
        seen += [int(pk) for pk in re.findall(r'alt="Picture of ECG (\d+)"', shown)]
        more = re.search(r'rel="next" href="\?([^"]*)"', shown)
        if more is None:
            break
        query = more[1]
    newest = [row.pk for row in sorted(rows, key=lambda r: (r.received_at, r.pk), reverse=True)]
    assert seen == [rows[6].pk, *(pk for pk in newest if pk != rows[6].pk)]


def test_an_empty_list_says_what_that_means(browser: Client) -> None:
    assert "Nothing left to read" in text_of(browser.get(LIST))
    assert "Nothing matches" in text_of(browser.get(LIST, {"finding": "af"}))


# --- the page ------------------------------------------------------------------------------------


def test_saving_goes_on_to_the_next_of_the_same_list(browser: Client) -> None:
    rows = [ecg(minutes_ago=minutes, sender="MUSE") for minutes in (1, 2, 3)]
    ecg(minutes_ago=2)
    answer = browser.post(address(rows[0], "?sender=MUSE"), form(rows[0]))
    assert answer["Location"] == address(rows[1], "?sender=MUSE")
    said = Reading.objects.get()
    assert (said.instance, said.decision, said.took_s) == (rows[0], "confirmed", 3.5)
    assert "ECG" in str(next(iter(get_messages(answer.wsgi_request))))
    browser.post(address(rows[1], "?sender=MUSE"), form(rows[1], "undecided"))
    answer = browser.post(
        address(rows[2], "?sender=MUSE"), form(rows[2], "overridden", **toggles(af="absent"))
    )
    assert answer["Location"] == f"{LIST}?sender=MUSE"
    assert Label.objects.get(instance=rows[2]).findings == AF | {"af": "absent"}


def test_what_was_said_twice_or_of_an_older_page_counts_once(browser: Client) -> None:
    row = ecg()
    sent = form(row)
    browser.post(address(row), sent)
    answer = browser.post(address(row), sent, follow=True)
    assert "read meanwhile" in text_of(answer)
    assert Reading.objects.count() == Label.objects.count() == 1
    browser.post(address(row), form(row, "overridden", **toggles(af="undecided")))
    assert Reading.objects.count() == 2


def test_what_cannot_be_recorded_is_answered_with_the_reason(browser: Client) -> None:
    row = ecg()
    answer = browser.post(address(row), form(row, "overridden", **toggles()), follow=True)
    assert "Nothing differs from the findings" in text_of(answer)
    assert answer.redirect_chain == [(address(row), 302)]
    assert not Reading.objects.exists()


def test_nothing_is_confirmed_by_a_form_that_says_something_else(browser: Client) -> None:
    row = ecg()
    forged = form(row, "confirmed", **toggles(afl="present"))
    answer = browser.post(address(row), forged, follow=True)
    assert "override them instead" in text_of(answer)
    assert not Reading.objects.exists()
    browser.post(address(row), form(row, "confirmed", **toggles()))
    assert Reading.objects.get().findings == AF


def test_the_page_shows_what_was_said_so_far_and_the_label(browser: Client) -> None:
    row = ecg()
    browser.post(address(row), form(row, "overridden", comment="f waves", **toggles(afl="present")))
    shown = text_of(browser.get(address(row)))
    for expected in ("Overridden", "AF, Flutter", "f waves", "okafor", "One reader"):
        assert expected in shown
    assert f'name="latest" value="{Reading.objects.get().pk}"' in shown


def test_the_page_of_an_ecg_shows_what_people_said_and_leads_to_reading_it(
    browser: Client,
) -> None:
    row = ecg()
    page = reverse("admin:gateway_instance_change", args=[row.pk])
    assert "Nobody has read it yet" in text_of(browser.get(page))
    browser.post(address(row), form(row, "overridden", comment="f waves", **toggles(afl="present")))
    shown = text_of(browser.get(page))
    for expected in ("Overridden", "AF, Flutter", "f waves", "okafor", "One reader", address(row)):
        assert expected in shown


# --- who may -------------------------------------------------------------------------------------


def test_a_visitor_signs_in_first_and_a_stranger_gets_nothing(
    client: Client, stranger: Client
) -> None:
    row = ecg()
    for page in (LIST, address(row), reverse("reading_map", args=[row.pk, "af"])):
        assert client.get(page).status_code == 302
        assert stranger.get(page).status_code == 403
    assert client.post(address(row), form(row)).status_code == 302
    assert stranger.post(address(row), form(row)).status_code == 403
    assert not Reading.objects.exists()


def test_who_may_only_look_sees_no_buttons_and_a_forged_post_changes_nothing(
    reader: Client,
) -> None:
    row = ecg()
    assert 'name="decision"' not in text_of(reader.get(address(row)))
    assert reader.post(address(row), form(row)).status_code == 403
    assert not Reading.objects.exists()


def test_who_may_not_verify_cannot_by_forging_the_post(browser: Client, settings: Settings) -> None:
    settings.ECG_INSTITUTION = "St Elsewhere"
    row = ecg()
    assert 'name="verify"' not in text_of(browser.get(address(row)))
    assert browser.post(address(row), form(row, verify="on")).status_code == 403
    assert not Reading.objects.exists()
    assert not Review.objects.exists()


def test_who_may_verify_is_told_in_whose_name_and_does_so_by_ticking_the_box(
    settings: Settings,
) -> None:
    user = make_user("lind", "view_instance", "add_reading", "verify_report")
    User.objects.filter(pk=user.pk).update(first_name="Åsa", last_name="Lind")
    browser, row = signed_in(user), ecg()
    assert "ECG_INSTITUTION is not set" in text_of(browser.get(address(row)))
    settings.ECG_INSTITUTION = "St Elsewhere"
    assert "Lind, Åsa" in text_of(browser.get(address(row)))
    browser.post(address(row), form(row))
    assert not Review.objects.exists()
    browser.post(address(row), form(row, verify="on"))
    assert Review.objects.get().verifier_name == "Lind^Åsa"


# --- blinded -------------------------------------------------------------------------------------


def test_who_reads_blinded_sees_nothing_of_what_others_said(
    browser: Client, cardiologist: User
) -> None:
    row, other = ecg(af=0.931, pac=0.4), make_user("other")
    Reading.objects.create(instance=row, reader=other, decision="confirmed", comment="surely AF")
    wanted = Assignment.objects.create(instance=row, queue="random", taken_by=cardiologist)
    assert row.pk not in listed(browser, show="all")
    page = address(row, f"?assignment={wanted.pk}")
    assert browser.get(address(row))["Location"] == page
    assert browser.get(reverse("admin:gateway_instance_change", args=[row.pk]))["Location"] == page
    shown = text_of(browser.get(page))
    body = shown[shown.index('id="reading"') :]
    for hidden in ("93.1", "desk-bar-fill", "AI result", "surely AF", "Label", "reading-map-key"):
        assert hidden not in body, hidden
    assert not re.search(r'name="finding_\w+" value="\w+" checked', body)
    assert browser.get(reverse("reading_map", args=[row.pk, "af"])).status_code == 403
    # Nor may what is said in routine be asked of this ECG, to learn what the network said.
    assert browser.post(address(row), form(row))["Location"] == page
    assert not Reading.objects.filter(reader=cardiologist).exists()

    answer = browser.post(page, {"decision": "blinded", **toggles(pac="present")})
    assert answer["Location"] == LIST
    said = Reading.objects.get(reader=cardiologist)
    assert (said.decision, said.shown, said.assignment) == ("blinded", None, wanted)


def rows_of(browser: Client, address: str) -> int:
    """Return how many rows a list shows."""
    context: Any = browser.get(address).context_data
    return int(context["cl"].result_count)


def test_no_other_screen_tells_of_an_ecg_that_is_taken_to_be_read(db: None) -> None:
    rows = ("instance", "study", "report", "alert", "label")
    user = make_user("curious", *(f"view_{one}" for one in rows), "add_instance", "add_reading")
    browser, row = signed_in(user), analyse(make_ecg(drawn()), {"af": 0.931})
    compose(row)
    alert = make_alert(row)
    label = labelling.write(row, AF, source="single", decided_by=make_user("other"))
    pages = [
        ("gateway_instance", row.pk),
        ("gateway_study", row.study_id),
        *(("gateway_report", report.pk) for report in row.reports.all()),
        ("gateway_alert", alert.pk),
        ("webadmin_label", label.pk),
    ]
    addresses = [reverse(f"admin:{name}_change", args=[pk]) for name, pk in pages]
    addresses += [
        reverse("admin:gateway_report_file", args=[report.pk]) for report in row.reports.all()
    ]
    lists = [reverse(f"admin:{name}_changelist") for name in dict(pages)]
    result = reverse("upload_result", args=[row.pk])
    assert {browser.get(one).status_code for one in addresses} == {200}
    assert all(rows_of(browser, one) for one in lists)
    assert "93.1" in browser.get(result).json()["html"]

    wanted = Assignment.objects.create(instance=row, queue="random", taken_by=user)
    # Django's admin answers a row that is not there with a way back, its files with 404.
    for one in addresses[1:]:
        assert browser.get(one).status_code in (302, 404), one
    assert browser.get(addresses[0])["Location"].endswith(f"?assignment={wanted.pk}")
    for one in lists:
        assert not rows_of(browser, one), one
    assert "93.1" not in browser.get(result).json()["html"]


def test_a_blinded_reading_cannot_be_made_a_routine_one_by_forging(
    browser: Client, cardiologist: User
) -> None:
    row = ecg()
    wanted = Assignment.objects.create(instance=row, queue="random", taken_by=cardiologist)
    page = address(row, f"?assignment={wanted.pk}")
    assert "changed meanwhile" in text_of(browser.post(page, form(row), follow=True))
    assert not Reading.objects.exists()


def test_an_adjudication_is_decided_where_neither_network_nor_names_are_seen() -> None:
    row, judge = ecg(), make_user("judge", "view_instance", "add_reading", "adjudicate")
    wanted = Assignment.objects.create(
        instance=row, queue="random", kind="adjudication", taken_by=judge
    )
    page, there = address(row, f"?assignment={wanted.pk}"), reverse("adjudicate", args=[wanted.pk])
    browser = signed_in(judge)
    for answer in (browser.get(page), browser.post(page, form(row))):
        assert (answer.status_code, answer["Location"]) == (302, there)
    assert not Reading.objects.exists()


def test_an_assignment_of_another_is_nobody_elses(browser: Client) -> None:
    row = ecg()
    wanted = Assignment.objects.create(instance=row, queue="random", taken_by=make_user("other"))
    page = address(row, f"?assignment={wanted.pk}")
    assert browser.get(page).status_code == 403
    assert browser.post(page, {"decision": "blinded", **toggles()}).status_code == 403
    assert browser.get(address(row, "?assignment=999999")).status_code == 404
    assert browser.get(address(row, "?assignment=x")).status_code == 200


# --- addresses -----------------------------------------------------------------------------------


def test_no_address_and_no_title_names_a_patient(browser: Client) -> None:
    rows = [
        analyse(make_ecg(patient_id="PID77001", patient_name="Okoro^Ada", accession="ACC88"), {})
        for _ in range(3)
    ]
    for page in (LIST, address(rows[0])):
        shown = text_of(browser.get(page))
        told = re.findall(r'(?:href|src|action|data-[\w-]+)="([^"]*)"', shown)
        told += re.findall(r"<title>(.*?)</title>", shown, re.DOTALL)
        assert len(told) > 10
        assert "ACC88" in shown
        for secret in ("PID77001", "Okoro", "Ada", "ACC88"):
            assert not any(secret in text for text in told), secret


# --- the picture ---------------------------------------------------------------------------------


def test_another_page_of_an_object_is_shown_when_asked_for_and_all_pixels_too(
    reader: Client,
) -> None:
    first, second = drawn("af", seed=7), drawn("normal", seed=2)[:, ::-1]
    rows, columns = (min(size) for size in zip(first.shape[:2], second.shape[:2], strict=True))
    both = [
        Image.fromarray(np.ascontiguousarray(page[:rows, :columns])) for page in (first, second)
    ]
    buffer = io.BytesIO()
    both[0].save(buffer, "PDF", save_all=True, append_images=both[1:], resolution=150)
    row = analyse(make_ecg(data=buffer.getvalue()), {"af": 0.93})
    row.pages = [{"number": 1, "reason": None}, {"number": 2, "reason": "blank"}]
    row.save(update_fields=["pages"])
    page = text_of(reader.get(address(row)))
    assert re.findall(r'data-page="(\d)" aria-pressed="(\w+)"', page) == [
        ("1", "true"),
        ("2", "false"),
    ]
    picture = reverse("admin:gateway_instance_picture", args=[row.pk])
    shown = {query: reader.get(f"{picture}?{query}") for query in ("", "page=2", "size=detail")}
    assert {answer.status_code for answer in shown.values()} == {200}
    assert len({answer["ETag"] for answer in shown.values()}) == 3
    whole, other, detail = (Image.open(io.BytesIO(a.content)) for a in shown.values())
    assert np.abs(np.asarray(whole, float) - np.asarray(other, float)).mean() > 1.0
    assert detail.width > whole.width == 1600
    assert reader.get(f"{picture}?page=3").status_code == 422
    assert reader.get(f"{picture}?page=x").status_code == 200


# --- how large the paper is ----------------------------------------------------------------------


def test_callipers_know_the_paper_of_a_scan_that_says_so() -> None:
    from desk_rows import content

    from dicom_node.capture import secondary_capture

    def scan(spacing: list[float] | None) -> Dataset:
        ds = secondary_capture(drawn(), patient_id="X")
        if spacing:
            ds.NominalScannedPixelSpacing = spacing
        return ds

    rows, columns = drawn().shape[:2]
    known = calibration_of(make_ecg(data=content(scan([0.2, 0.17]))))
    assert known is not None
    assert known.across_mm == pytest.approx(columns * 0.17)
    assert known.down_mm == pytest.approx(rows * 0.2)
    assert not known.speed_is_known
    assert calibration_of(make_ecg(data=content(scan(None)))) is None
    assert calibration_of(make_ecg(data=content(scan([9.0, 9.0])))) is None
    assert calibration_of(make_ecg(data=b"")) is None


def test_callipers_know_the_paper_that_waveforms_are_drawn_on() -> None:
    from pathlib import Path

    from pydicom.data import get_testdata_file

    from gateway import pages

    path = get_testdata_file("waveform_ecg.dcm")
    assert isinstance(path, str)
    known = calibration_of(make_ecg(data=Path(path).read_bytes()))
    assert known is not None
    assert known.speed_is_known
    raster = pages.raster(Path(path), 1)
    assert raster.shape[1] / known.across_mm == pytest.approx(pages.PAPER.px_per_mm)
    assert raster.shape[0] / known.down_mm == pytest.approx(pages.PAPER.px_per_mm)
