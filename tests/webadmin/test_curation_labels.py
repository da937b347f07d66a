"""Labels at the Desk: their history, import with a preview, export with pseudonyms; guidelines."""

from __future__ import annotations

import csv
import io

import pytest
from desk_people import make_user, signed_in
from desk_readings import ecg, label, override, reader, words
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from webadmin import label_files
from webadmin.models import Deed, Guideline, Label, Reading

pytestmark = pytest.mark.django_db

LIST = "/desk/webadmin/label/"


@pytest.fixture
def manager() -> User:
    return make_user(
        "manager", "view_label", "import_label", "export_label", "view_reading", "view_instance",
        "view_guideline", "add_guideline", "change_guideline", "delete_guideline",
    )  # fmt: skip


def imported(browser: Client, *lines: str) -> str:
    """Choose a file; return the page that shows what it would write."""
    content = "\r\n".join(lines).encode()
    given = {"file": SimpleUploadedFile("labels.csv", content, "text/csv")}
    answer = browser.post(reverse("admin:webadmin_label_import"), given)
    assert answer.status_code == 200
    return answer.content.decode()


def ticket(page: str) -> str:
    return page.split('name="ticket" value="')[1].split('"')[0]


def test_the_latest_label_holds_and_the_page_tells_the_history(manager: User) -> None:
    anna = reader("anna")
    row = ecg()
    first = label(row, anna, "af")
    second = label(row, anna, "afl", source=Label.Source.ADJUDICATED)
    override(row, anna, "afl")
    browser = signed_in(manager)
    page = browser.get(reverse("admin:webadmin_label_change", args=[second.pk])).content.decode()
    assert "holds" in page
    assert "Adjudicated" in page
    assert "Overridden" in page
    page = browser.get(reverse("admin:webadmin_label_change", args=[first.pk])).content.decode()
    assert "replaced" in page


def test_the_list_costs_the_same_for_many_labels(manager: User) -> None:
    anna, browser = reader("anna"), signed_in(manager)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(LIST).status_code == 200
        return len(asked)

    label(ecg(), anna, "af")
    browser.get(LIST)
    few = cost()
    for _ in range(10):
        label(ecg(), anna, "af")
    assert cost() <= few <= 10


# --- import --------------------------------------------------------------------------------------


def test_a_file_is_shown_first_and_written_once_confirmed(manager: User) -> None:
    by_uid, by_accession = ecg(), ecg(accession="ECG-26-1")
    browser = signed_in(manager)
    page = imported(
        browser,
        "sop_instance_uid,accession_number,findings,unknown,comment",
        f"{by_uid.sop_instance_uid},,af|crbbb,pac,seen twice",
        ",ECG-26-1,none,,",
    )
    assert "2 labels, 2 of them say something new" in page
    assert not Label.objects.exists()
    given = {"ticket": ticket(page), "confirmed": "yes"}
    answer = browser.post(reverse("admin:webadmin_label_import"), given)
    assert answer["Location"] == LIST
    first, second = (Label.objects.get(instance=row) for row in (by_uid, by_accession))
    assert first.findings == words("af", "crbbb", undecided=("pac",))
    assert (first.source, first.decided_by, first.comment) == ("imported", manager, "seen twice")
    assert second.findings == words()
    assert Deed.objects.filter(action="import", actor="manager").count() == 1


def test_one_fault_and_nothing_is_written(manager: User) -> None:
    good, twice = ecg(), ecg(accession="ECG-26-2")
    ecg(accession="ECG-26-3", study=None)
    other = ecg(accession="ECG-26-3")
    browser = signed_in(manager)
    page = imported(
        browser,
        "sop_instance_uid,accession_number,findings,unknown",
        f"{good.sop_instance_uid},,af,",
        "1.2.3.4.5,,af,",
        ",ECG-26-3,af,",
        f"{other.sop_instance_uid},,sinus,",
        f"{twice.sop_instance_uid},,normal|af,",
        ",ECG-26-2,af,",
        f"{good.sop_instance_uid},,,",
        ",,af,",
    )
    for line, fault in (
        (3, "no ECG of this SOP Instance UID is here"),
        (4, "2 ECGs have this accession number: give the SOP Instance UID"),
        (5, "expected findings of normal"),
        (6, "normal cannot be present beside af"),
        (7, "a second label of the same ECG"),
        (8, "expected findings, or none"),
        (9, "expected a SOP Instance UID or an accession number"),
    ):
        assert f"Line {line}: {fault}" in page, fault
    assert 'name="ticket"' not in page
    with pytest.raises(label_files.NotImported):
        label_files.write(label_files.read(b"findings\naf"), manager)
    assert not Label.objects.exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "expected the columns findings"),
        (b"accession_number,findings\n", "expected at least one label"),
        (b"accession_number,findings\n" + b"A,af\n" * 2001, "expected at most 2000 labels"),
        (b"x" * 500_001, "expected at most 500,000 bytes"),
        (b"accession_number,findings\n\xff\xfe,af\n", "UTF-8"),
        (b'accession_number,findings\n"A\x00,af\n', "no "),
    ],
)
def test_a_file_that_is_none_says_why(content: bytes, fault: str) -> None:
    found = label_files.read(content)
    assert not found.lines
    assert fault in found.faults[0][1]


def test_what_says_nothing_new_is_not_written_and_a_consensus_is_pointed_out(
    manager: User,
) -> None:
    anna = reader("anna")
    same, disputed = ecg(accession="A-1"), ecg(accession="A-2")
    label(same, anna, "af", source=Label.Source.SINGLE)
    label(disputed, anna, "af")
    found = label_files.read(b"accession_number,findings\nA-1,af\nA-2,afl\n")
    assert [line.is_new for line in found.lines] == [False, True]
    assert [line.replaces_consensus for line in found.lines] == [False, True]
    assert label_files.write(found, manager) == 1
    assert same.labels.count() == 1


def test_somebody_elses_file_is_not_confirmed(manager: User) -> None:
    ecg(accession="A-1")
    page = imported(signed_in(manager), "accession_number,findings", "A-1,af")
    given = {"ticket": ticket(page), "confirmed": "yes"}
    thief = signed_in(make_user("thief", "view_label", "import_label"))
    answer = thief.post(reverse("admin:webadmin_label_import"), given)
    assert "Choose the file again" in answer.content.decode()
    guest = signed_in(make_user("guest", "view_label"))
    assert guest.get(reverse("admin:webadmin_label_import")).status_code == 403
    assert not Label.objects.exists()


def test_reading_a_file_asks_the_database_as_often_for_many_lines() -> None:
    rows = [ecg(accession=f"A-{number}") for number in range(30)]
    content = "accession_number,findings\n" + "".join(f"A-{n},af\n" for n in range(len(rows)))
    with CaptureQueriesContext(connection) as asked:
        assert len(label_files.read(content.encode()).lines) == 30
    assert len(asked) <= 4


# --- export --------------------------------------------------------------------------------------


def exported(browser: Client, **values: str) -> list[dict[str, str]]:
    answer = browser.post(reverse("admin:webadmin_label_export"), values)
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(content)))


def test_an_export_has_pseudonyms_new_each_time(manager: User) -> None:
    anna = reader("anna")
    rows = [ecg(patient_id="PAT-1", accession=f"ACC-{number}") for number in range(2)]
    for row in rows:
        label(row, anna, "af")
    browser = signed_in(manager)
    first, second = exported(browser), exported(browser)
    assert {line["findings"] for line in first} == {"af"}
    assert len({line["patient"] for line in first}) == 1, "of one patient"
    assert len({line["ecg"] for line in first}) == 2
    assert {line["patient"] for line in first}.isdisjoint(line["patient"] for line in second)
    told = str(first)
    for text in ("PAT-1", "ACC-0", rows[0].sop_instance_uid):
        assert text not in told
    deed = Deed.objects.filter(action="export").latest("pk")
    assert (deed.actor, deed.detail["identifiers"]) == ("manager", False)


def test_patient_ids_leave_with_who_may_see_them(manager: User) -> None:
    label(ecg(patient_id="=PAT-1", accession="ACC-1"), reader("anna"), "af")
    browser = signed_in(manager)
    answer = browser.post(reverse("admin:webadmin_label_export"), {"identifiers": "yes"})
    assert answer.status_code == 403
    doctor = signed_in(make_user("doctor", "view_label", "export_label", "view_study"))
    line = exported(doctor, identifiers="yes")[0]
    assert (line["patient_id"], line["accession_number"]) == ("'=PAT-1", "ACC-1")
    back = label_files.read(
        f"accession_number,findings\n{line['accession_number']},{line['findings']}\n".encode()
    )
    assert not back.faults
    guest = signed_in(make_user("guest", "view_label"))
    assert guest.post(reverse("admin:webadmin_label_export")).status_code == 403


# --- guidelines ----------------------------------------------------------------------------------


def test_a_guideline_that_was_read_by_does_not_change(manager: User) -> None:
    browser = signed_in(manager)
    now = timezone.localtime()
    browser.post(
        reverse("admin:webadmin_guideline_add"),
        {
            "version": "1.0", "text": "AF: no P waves, irregular.",
            "in_force_since_0": now.date().isoformat(), "in_force_since_1": "00:00:00",
        },
    )  # fmt: skip
    written = Guideline.objects.get()
    assert written.written_by == manager
    page = reverse("admin:webadmin_guideline_change", args=[written.pk])
    assert 'name="text"' in browser.get(page).content.decode()
    Reading.objects.create(
        instance=ecg(), reader=manager, decision="blinded", findings=words(), guideline=written
    )
    assert 'name="text"' not in browser.get(page).content.decode()
    assert browser.post(page, {"version": "2", "text": "other"}).status_code == 403
    erase = reverse("admin:webadmin_guideline_delete", args=[written.pk])
    assert browser.post(erase, {"post": "yes"}).status_code == 403
    written.refresh_from_db()
    assert written.version == "1.0"
