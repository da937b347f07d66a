"""Adding an ECG in the Desk: who may, whose it is, what is taken, and what came of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, reject
from django.core import signing
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from pictures import page
from PIL import Image
from programs import eventually
from pydicom import dcmread
from pytest_django import Settings
from workers import broker, worker
from worklists import Worklist, scheduled

from dicom_node.order import Order
from gateway import lookups, spool
from gateway.models import Door, Instance, Peer
from webadmin import upload

PAGE = reverse("upload")


@pytest.fixture
def nurse(db: None) -> Client:
    """Return the browser of somebody who may add ECGs and nothing else."""
    return signed_in(make_user("nurse", "add_instance"))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(page()[::4, ::4]).save(buffer, "PNG")
    return buffer.getvalue()


def name(browser: Client, **fields: str) -> Any:
    """Say whose ECG it is."""
    return browser.post(reverse("upload_patient"), fields)


def ticket(browser: Client, **fields: str) -> str:
    (order,) = name(browser, **{"patient_id": "P-1", **fields}).json()["orders"]
    return str(order["ticket"])


def send(browser: Client, content: bytes, ticket: str) -> Any:
    return browser.post(
        reverse("upload_file"),
        content,
        content_type="application/octet-stream",
        headers={"X-Order-Ticket": ticket},
    )


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["upload", "upload_patient", "upload_found", "upload_file"])
def test_only_those_with_the_permission_may_add(
    address: str, reader: Client, client: Client
) -> None:
    ask = reader.get if address == "upload" else reader.post
    assert ask(reverse(address)).status_code == 403
    assert client.get(reverse(address)).status_code == 302


def test_a_request_without_its_token_is_refused(nurse: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = nurse.cookies
    assert send(strict, png(), "").status_code == 403
    assert name(strict, patient_id="P").status_code == 403


def test_the_sidebar_leads_there_who_may_go(nurse: Client, reader: Client) -> None:
    front = reverse("admin:index")
    assert f'href="{PAGE}"' in nurse.get(front).content.decode()
    assert f'href="{PAGE}"' not in reader.get(front).content.decode()


def test_the_page_offers_what_there_is(nurse: Client) -> None:
    shown = nurse.get(PAGE).content.decode()
    assert 'capture="environment"' in shown
    assert "Use this patient" in shown
    assert "Look up" not in shown
    Peer.objects.create(title="WORKLIST", host="127.0.0.1", port=1, is_worklist=True)
    assert "Look up" in nurse.get(PAGE).content.decode()


# --- whose it is ---------------------------------------------------------------------------------


def test_without_a_worklist_what_is_typed_is_shown_and_goes_into_the_object(nurse: Client) -> None:
    answer = name(
        nurse,
        patient_id="P-1",
        accession="A-1",
        name="O'Neil^<b>Pat</b>",
        birth_date="1957-08-09",
        sex="F",
    ).json()
    (order,) = answer["orders"]
    assert "1957-08-09" in order["html"]
    assert "as typed; no worklist was asked" in order["html"]
    assert "<b>" not in order["html"]
    kept = send(nurse, png(), order["ticket"])
    assert kept.status_code == 201
    row = Instance.objects.get()
    assert (row.door, row.calling_title) == (Door.UPLOAD, "UPLOAD")
    assert row.transitions.get().actor == "user:nurse"
    ds = dcmread(spool.locate(row.spool_name))
    assert (ds.PatientID, ds.AccessionNumber, ds.PatientBirthDate) == ("P-1", "A-1", "19570809")
    assert str(ds.PatientName) == "O'Neil^<b>Pat</b>"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "patient_id"),
        ({"patient_id": "P", "accession": "A" * 17}, "accession"),
        ({"patient_id": "P\\Q"}, "patient_id"),
        ({"patient_id": "P", "birth_date": "yesterday"}, "birth_date"),
        ({"patient_id": "P", "sex": "X"}, "sex"),
    ],
)
def test_what_is_typed_wrong_is_said_beside_its_field(
    fields: dict[str, str], field: str, nurse: Client
) -> None:
    answer = name(nurse, **fields)
    assert answer.status_code == 400
    assert "expected" in answer.json()["faults"][field]


def test_a_ticket_cannot_be_made_up_borrowed_or_kept_for_long(
    nurse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = signed_in(make_user("other", "add_instance"))
    mine = ticket(nurse)
    for wrong in ("", "x", mine[:-2], ticket(other), signing.dumps({"order": {}, "user": 1})):
        assert send(nurse, png(), wrong).status_code == 403
    monkeypatch.setattr(upload, "TICKET_S", -1)
    assert send(nurse, png(), mine).status_code == 403
    assert not Instance.objects.exists()


# --- the worklist, asked by a Courier ------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[Worklist]:
    with Worklist() as worklist:
        yield worklist


@pytest.fixture
def worklist(served: Worklist, transactional_db: None) -> Iterator[Worklist]:
    Peer.objects.create(title=served.title, host=served.host, port=served.port, is_worklist=True)
    yield served
    served.clear()


def found(browser: Client, question: str) -> Any:
    def ask() -> Any:
        answer = browser.post(reverse("upload_found"), {"lookup": question})
        return answer.json() if answer.status_code == 200 else None

    return eventually(ask, timeout_s=20)


def test_a_courier_asks_the_worklist_and_the_desk_shows_who_it_is(
    worklist: Worklist, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nurse = signed_in(make_user("nurse", "add_instance"))
    other = signed_in(make_user("other", "add_instance"))
    item = scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7")
    worklist.add(item)
    worklist.add(scheduled(patient_id="P-8", accession="ACC-8"))
    worklist.add(scheduled(patient_id="P-8", accession="ACC-9"))
    with broker(tmp_path_factory.mktemp("valkey")), worker("delivery"):
        asked = name(nurse, accession="ACC-7")
        assert asked.status_code == 202
        question = asked.json()["lookup"]
        assert "too old" in found(other, question)["problem"]
        answer = found(nurse, question)
        assert answer["problem"] == ""
        (order,) = answer["orders"]
        assert "李, 娜" in order["html"]
        assert "Resting 12-lead ECG" in order["html"]
        assert "<dt>Modality</dt><dd>ECG</dd>" in order["html"]
        assert "too old" in found(nurse, question)["problem"]

        several = found(nurse, name(nurse, patient_id="P-8").json()["lookup"])
        assert "2 orders" in several["problem"]
        assert len(several["orders"]) == 2
        wrong = found(nurse, name(nurse, accession="ACC-7", patient_id="P-8").json()["lookup"])
        assert "is it the right patient?" in wrong["problem"]
        assert wrong["orders"] == []

    kept = send(nurse, png(), order["ticket"])
    assert kept.status_code == 201
    ds = dcmread(spool.locate(Instance.objects.get().spool_name))
    assert (ds.PatientID, ds.StudyInstanceUID) == ("P-7", item.StudyInstanceUID)


def test_an_order_that_a_worklist_gave_no_study_is_not_shown_as_typed() -> None:
    item = scheduled(patient_id="P-7", accession="A", procedure="CT abdomen", modality="CT")
    item.StudyInstanceUID = ""
    html = render_to_string("webadmin/upload_order.html", {"o": Order.from_worklist(item)})
    assert "CT abdomen" in html
    assert "<dd>CT</dd>" in html
    assert "as typed" not in html


def test_a_broker_that_is_away_is_said_and_nothing_is_left(nurse: Client) -> None:
    Peer.objects.create(title="WORKLIST", host="127.0.0.1", port=1, is_worklist=True)
    answer = name(nurse, patient_id="P")
    assert "broker is away" in answer.json()["problem"]
    typed = name(nurse, patient_id="P", without_worklist="on").json()
    assert len(typed["orders"]) == 1


@pytest.mark.django_db
def test_an_answer_to_nobody_changes_nothing() -> None:
    lookups.answer("no-such-question")
    with pytest.raises(KeyError):
        lookups.answered("no-such-question", asker=1)


# --- a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 422, "empty"),
        (b"a letter", 422, "Expected a picture"),
        (png()[:500], 422, "Damaged picture"),
        (b"\0\0\0\x18ftypheic" + bytes(200), 422, "save it as JPEG"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_reason(
    content: bytes, status: int, said: str, nurse: Client
) -> None:
    answer = send(nurse, content, ticket(nurse))
    assert answer.status_code == status
    assert said in answer.json()["reason"]
    assert not Instance.objects.exists()
    assert not list(spool.incoming().iterdir())


def test_a_file_beyond_the_limit_is_refused_before_it_is_kept(
    nurse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MAX_BYTES", 1000)
    answer = send(nurse, png(), ticket(nurse))
    assert answer.status_code == 413
    assert not list(spool.incoming().iterdir())


def test_a_spool_that_cannot_be_written_says_so_and_keeps_nothing(
    nurse: Client, settings: Any, tmp_path: Any
) -> None:
    (tmp_path / "file").touch()
    settings.ECG_SPOOL_DIR = tmp_path / "file"
    answer = send(nurse, png(), ticket(nurse))
    assert answer.status_code == 503
    assert "try again" in answer.json()["reason"]


def test_one_file_at_a_time_is_made_an_object_and_the_others_wait(
    nurse: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_PATIENCE_S", 0.01)
    mine = ticket(nurse)
    with upload._AT_ONCE:
        answer = send(nurse, png(), mine)
        assert answer.status_code == 503
        assert "busy" in answer.json()["reason"]
        assert not Instance.objects.exists()
    assert [send(nurse, png(), mine).status_code for _ in range(2)] == [201, 200]
    assert send(nurse, b"a letter", mine).status_code == 422
    assert send(nurse, png(), mine).status_code == 200


def test_the_same_file_again_is_the_same_ecg(nurse: Client) -> None:
    first, again = (send(nurse, png(), ticket(nurse)) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["result"] == again.json()["result"]
    assert not again.json()["is_new"]


# --- what came of it -----------------------------------------------------------------------------


def test_the_result_is_shown_when_it_is_there_to_those_who_may_look(nurse: Client) -> None:
    doctor = signed_in(make_user("doctor", "add_instance", "view_instance"))
    address = send(doctor, png(), ticket(doctor)).json()["result"]
    answer = doctor.get(address).json()
    assert (answer["is_final"], "Received" in answer["html"]) == (False, True)
    row = analyse(Instance.objects.get(), {"af": 0.931})
    Instance.objects.filter(pk=row.pk).update(state="delivered")
    answer = doctor.get(address).json()
    assert answer["is_final"]
    for said in (
        "Atrial fibrillation",
        "93.1%",
        "9 of 10 findings absent",
        "AI result, unverified",
    ):
        assert said in answer["html"]
    assert reverse("admin:gateway_instance_change", args=[row.pk]) in answer["html"]
    hidden = nurse.get(address).json()["html"]
    assert "Delivered" in hidden
    assert "fibrillation" not in hidden


def test_a_rejected_picture_says_why(nurse: Client) -> None:
    address = send(nurse, png(), ticket(nurse)).json()["result"]
    reject(Instance.objects.get(), "blank picture")
    answer = nurse.get(address).json()
    assert answer["is_final"]
    assert "blank picture" in answer["html"]
    assert "Take it again" in answer["html"]


def test_a_file_is_not_taken_while_the_disk_is_nearly_full(
    nurse: Client, settings: Settings
) -> None:
    confirmed = ticket(nurse)
    settings.ECG_LOW_WATER_MB = 1 << 40
    refused = send(nurse, png(), confirmed)
    assert refused.status_code == 503
    assert "Nothing is taken now: the disk of the spool is nearly full" in refused.json()["reason"]
    settings.ECG_LOW_WATER_MB = 0
    assert send(nurse, png(), confirmed).status_code == 201
