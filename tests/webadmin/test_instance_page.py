"""The page of one ECG: findings before everything, nothing claimed that nobody claimed."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from desk_rows import (
    analyse,
    compose,
    deliver,
    fail,
    make_association,
    make_ecg,
    make_model_version,
    make_peer,
    reject,
)
from django.test import Client
from django.urls import reverse

from gateway.models import Instance, ModelVersion
from gateway.states import State
from models.labels import LABELS


def page(browser: Client, instance: Instance) -> str:
    """Return the page of an ECG."""
    answer = browser.get(reverse("admin:gateway_instance_change", args=[instance.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def spoken(shown: str) -> list[str]:
    """Return what the bars say, in their order."""
    return re.findall(r'<li class="desk-bar [^"]*" aria-label="([^"]*)"', shown)


def test_findings_come_surest_positives_first_with_their_thresholds(reader: Client) -> None:
    ecg = analyse(make_ecg(), {"crbbb": 0.58, "af": 0.931, "pac": 0.55, "normal": 0.2})
    bars = spoken(page(reader, ecg))
    assert bars[:4] == [
        "Atrial fibrillation: present, probability 93.1%, threshold 42.0%",
        "Complete right bundle branch block: present, probability 58.0%, threshold 50.0%",
        "Premature atrial complexes: undetermined, probability 55.0%, threshold 61.0%",
        "Normal ECG: absent, probability 20.0%, threshold 50.0%",
    ]
    assert len(bars) == len(LABELS)


def test_each_bar_has_its_word_its_length_and_its_marker(reader: Client) -> None:
    shown = page(reader, analyse(make_ecg(), {"af": 0.931}))
    bar = re.search(r'<li class="desk-bar desk-bad.*?</li>', shown, re.DOTALL)
    assert bar
    for expected in ("width: 93.10%", "left: 42.00%", "left: 21.00%; width: 21.00%", "Present"):
        assert expected in bar[0]


def test_a_class_without_enough_real_ecgs_is_marked(reader: Client) -> None:
    shown = page(reader, analyse(make_ecg(), {"at": 0.9, "af": 0.9}))
    marked = re.findall(r'desk-bar-name">([^<]*?) <small[^>]*>not validated</small>', shown)
    assert sorted(marked) == ["Atrial escape", "Atrial tachycardia", "Ventricular pre-excitation"]


def test_a_card_that_claims_nothing_validates_nothing(reader: Client) -> None:
    ecg = analyse(make_ecg(), {})
    ModelVersion.objects.update(card={})
    assert page(reader, ecg).count(">not validated</small>") == len(LABELS)


def test_only_what_the_network_of_the_reports_found_is_shown(reader: Client) -> None:
    ecg = analyse(make_ecg(), {"normal": 0.97})
    candidate = make_model_version(sha256="0" * 64, name="candidate")
    ecg.findings.create(
        model_version=candidate, key="af", probability=0.99, threshold=0.5, verdict="present"
    )
    bars = spoken(page(reader, ecg))
    assert len(bars) == len(LABELS)
    assert bars[0].startswith("Normal ECG: present")


def test_it_says_that_no_person_has_checked_it(reader: Client) -> None:
    shown = page(reader, analyse(make_ecg(), {"normal": 0.97}))
    assert "AI result, unverified" in shown
    assert "ecg-resnet@1.0.0" in shown


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: reject(make_ecg(), "blank picture"), ["Rejected", "blank picture"]),
        (
            lambda: fail(make_ecg(), "no memory left"),
            ["Failed: it could not be analysed", "no memory left"],
        ),
    ],
)
def test_a_reason_is_an_alert_at_the_top_and_no_finding_is_claimed(
    reader: Client, make: Callable[[], Instance], says: list[str]
) -> None:
    shown = page(reader, make())
    alert = re.search(r'<section class="desk-alert.*?</section>', shown, re.DOTALL)
    assert alert
    assert shown.index(alert[0]) < shown.index("data-picture")
    assert all(text in alert[0] for text in says)
    assert spoken(shown) == []


def test_a_waiting_row_says_what_went_wrong_last(reader: Client) -> None:
    ecg = make_ecg(last_error="PeerUnreachable: no route", attempts=3)
    assert "PeerUnreachable: no route" in page(reader, ecg)


def test_conflicting_objects_point_at_each_other(reader: Client) -> None:
    first = make_ecg()
    second = make_ecg(
        state=State.SET_ASIDE, conflict_of=first, reason="same UID as an earlier object"
    )
    for one, other in ((first, second), (second, first)):
        link = reverse("admin:gateway_instance_change", args=[other.pk])
        alert = re.search(r'<section class="desk-alert.*?</section>', page(reader, one), re.DOTALL)
        assert alert
        assert f'href="{link}"' in alert[0]


def test_the_trail_tells_the_life_in_order_with_reports_and_deliveries(reader: Client) -> None:
    ecg = analyse(make_ecg(association=make_association()), {"af": 0.9})
    compose(ecg)
    deliver(ecg, make_peer(), refused_first=True)
    shown = page(reader, ecg)
    trail = re.search(r'<ol class="desk-trail">.*?</ol>', shown, re.DOTALL)
    assert trail
    assert re.findall(r"<strong>(\w+)</strong>", trail[0]) == [
        "Received",
        "Analysed",
        "Reported",
        "Delivered",
    ]
    assert "after 0.8 s" in trail[0]
    for text in ("Basic Text SR", "Comprehensive SR", "ARCHIVE", "0xA700", "0x0000"):
        assert text in shown


def test_no_title_and_no_address_names_the_patient(reader: Client) -> None:
    ecg = make_ecg(patient_id="7341902", patient_name="Okafor^Ngozi", accession="ECG-26-00817")
    shown = page(reader, analyse(ecg, {}))
    head = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert head
    names = ("7341902", "Okafor", "ECG-26-00817", ecg.sop_instance_uid)
    places = [head[1], *re.findall(r'(?:href|src|action)="([^"]*)"', shown)]
    assert not [(name, place) for name in names for place in places if name in place]
    assert "Okafor, Ngozi" in shown


def test_an_object_of_unreadable_bytes_has_a_page_with_the_reason(reader: Client) -> None:
    shown = page(reader, make_ecg(data=b"GET / HTTP/1.0\r\n\r\n"))
    assert "This object cannot be shown" in shown
    assert "<img" not in shown


def test_an_object_the_spool_has_lost_has_a_page_that_says_so(reader: Client) -> None:
    ecg = make_ecg()
    Instance.objects.filter(pk=ecg.pk).update(spool_name="instances/00/gone.dcm")
    assert "missing from the spool" in page(reader, ecg)
