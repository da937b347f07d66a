"""``manage.py submit`` and a real worklist: the right patient and order, or a question."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk_rows import analyse, reject
from django.core.management import CommandError, call_command
from django.db import connections
from pictures import page, save_picture
from PIL import Image
from programs import eventually
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import DataElement
from pytest_django import Settings
from worklists import Worklist, scheduled

from gateway import spool
from gateway.models import Door, Instance, Peer

Submit = Callable[..., str]


@pytest.fixture(scope="module")
def served() -> Iterator[Worklist]:
    with Worklist() as worklist:
        yield worklist


@pytest.fixture
def worklist(db: None, served: Worklist) -> Iterator[Worklist]:
    """Return a worklist of nobody, known as a Peer."""
    Peer.objects.create(title=served.title, host=served.host, port=served.port, is_worklist=True)
    yield served
    served.clear()


@pytest.fixture
def ecg(settings: Settings, tmp_path: Path) -> Path:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    Image.fromarray(page()[::4, ::4]).save(tmp_path / "ecg.png")
    return tmp_path / "ecg.png"


def submit(*arguments: str | Path) -> str:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("submit", *map(str, arguments), stdout=out, stderr=err)
    except CommandError as error:
        raise CommandError(f"{err.getvalue()}{error}") from error
    return out.getvalue()


def only() -> Dataset:
    return dcmread(spool.locate(Instance.objects.get().spool_name))


def test_an_accession_number_is_enough_where_there_is_a_worklist(
    worklist: Worklist, ecg: Path
) -> None:
    item = scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7")
    worklist.add(item)
    worklist.add(scheduled(patient_id="P-8", accession="ACC-8"))
    said = submit(ecg, "--accession", "ACC-7")
    assert "李^娜" in said
    ds = only()
    assert (ds.PatientID, str(ds.PatientName)) == ("P-7", "Li^Na=李^娜")
    assert (ds.PatientBirthDate, ds.PatientSex) == ("19570809", "F")
    assert (ds.StudyInstanceUID, ds.AccessionNumber) == (item.StudyInstanceUID, "ACC-7")
    assert ds.RequestAttributesSequence[0].ScheduledProcedureStepID == "SPS-1"
    assert Instance.objects.get().door == Door.SUBMIT
    assert "here already" in submit(ecg, "--accession", "ACC-7", "--patient-id", "P-7")
    assert Instance.objects.count() == 1


def test_a_patient_id_is_enough_when_one_order_is_open_and_asks_when_there_are_two(
    worklist: Worklist, ecg: Path
) -> None:
    worklist.add(scheduled(patient_id="P-7", accession="ACC-7"))
    submit(ecg, "--patient-id", "P-7")
    assert only().AccessionNumber == "ACC-7"
    worklist.add(scheduled(patient_id="P-7", accession="ACC-9"))
    with pytest.raises(CommandError, match=r"2 orders .*by its accession number \(ACC-"):
        submit(ecg, "--patient-id", "P-7")
    assert Instance.objects.count() == 1


def test_the_steps_of_one_order_are_one_order(worklist: Worklist, ecg: Path) -> None:
    for step in ("SPS-1", "SPS-2"):
        worklist.add(scheduled(patient_id="P-7", accession="A", study_uid="1.2.3", step=step))
    submit(ecg, "--accession", "A")
    (request,) = only().RequestAttributesSequence
    assert "ScheduledProcedureStepID" not in request
    assert request.RequestedProcedureID == "RP-A"


@pytest.mark.parametrize("modality", ["CT", "OT"])
def test_an_order_of_something_else_is_taken_only_by_its_accession_number(
    modality: str, worklist: Worklist, ecg: Path
) -> None:
    item = scheduled(patient_id="P-7", accession="A", procedure="Abdomen", modality=modality)
    worklist.add(item)
    with pytest.raises(CommandError, match=r"expected an order of an ECG.*its accession"):
        submit(ecg, "--patient-id", "P-7")
    assert not Instance.objects.exists()
    said = submit(ecg, "--patient-id", "P-7", "--accession", "A")
    assert f"{modality}, Abdomen" in said


def test_of_an_order_of_several_steps_the_ecg_is_the_step(worklist: Worklist, ecg: Path) -> None:
    for step, modality in (("SPS-1", "CT"), ("SPS-2", "ECG"), ("SPS-3", "US")):
        worklist.add(scheduled(patient_id="P-7", study_uid="1.2.3", step=step, modality=modality))
    submit(ecg, "--patient-id", "P-7")
    assert only().RequestAttributesSequence[0].ScheduledProcedureStepID == "SPS-2"


@pytest.mark.parametrize("option", ["--study", "--procedure"])
def test_of_two_orders_of_one_accession_number_one_can_be_chosen(
    option: str, worklist: Worklist, ecg: Path
) -> None:
    items = [scheduled(patient_id="P-7", accession="A") for _ in range(2)]
    items[1].RequestedProcedureID = "RP-2"
    for item in items:
        worklist.add(item)
    with pytest.raises(CommandError, match="by its Study Instance UID or requested") as caught:
        submit(ecg, "--accession", "A")
    chosen = {"--study": items[1].StudyInstanceUID, "--procedure": "RP-2"}[option]
    assert chosen in str(caught.value)
    submit(ecg, "--accession", "A", option, chosen)
    assert only().StudyInstanceUID == items[1].StudyInstanceUID


def test_of_one_accession_number_for_several_patients_the_typed_one_counts(
    worklist: Worklist, ecg: Path
) -> None:
    for patient_id in ("P-7", "P-8"):
        worklist.add(scheduled(patient_id=patient_id, accession="A"))
    with pytest.raises(CommandError, match="expected patient ID 'P-9', the worklist has several"):
        submit(ecg, "--accession", "A", "--patient-id", "P-9")
    submit(ecg, "--accession", "A", "--patient-id", "P-8")
    assert only().PatientID == "P-8"


def test_a_worklist_that_answers_with_more_than_fits_is_looked_through(
    worklist: Worklist, ecg: Path
) -> None:
    # Of what is asked, wlmscpfs matches the patient here; the study is told apart on our side.
    items = [scheduled(patient_id="P-7", accession=f"A-{n}") for n in range(30)]
    for item in items:
        worklist.add(item)
    with pytest.raises(CommandError, match="more than 25 orders fit"):
        submit(ecg, "--patient-id", "P-7")
    submit(ecg, "--patient-id", "P-7", "--study", items[29].StudyInstanceUID)
    assert only().AccessionNumber == "A-29"


def test_what_a_worklist_does_not_know_of_the_patient_stands_in_nobodys_way(
    worklist: Worklist, ecg: Path
) -> None:
    worklist.add(scheduled(patient_id="P-7", accession="A", sex="U"))
    submit(ecg, "--accession", "A", "--sex", "F")
    assert only().PatientSex == ""


def test_an_order_whose_study_is_no_uid_names_the_worklist(worklist: Worklist, ecg: Path) -> None:
    item = scheduled(patient_id="P-7", accession="A")
    item["StudyInstanceUID"] = DataElement(
        0x0020000D, "UI", "1.2.03", validation_mode=config.IGNORE
    )
    worklist.add(item)
    with pytest.raises(CommandError, match=r"Study Instance UID, WORKLIST has '1\.2\.03'"):
        submit(ecg, "--accession", "A")
    assert not Instance.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--accession", "ACC-7", "--study", "not a UID"), "study_instance_uid: expected a UID"),
        (("--accession", "ACC-7", "--patient-id", "P-8"), "expected patient ID 'P-8'.*has 'P-7'"),
        (("--accession", "ACC-7", "--birth-date", "1960-01-01"), "birth date '19600101'"),
        (("--accession", "ACC-7", "--sex", "m"), "expected sex 'M'"),
        (("--accession", "ACC-7", "--name", "Somebody^Else"), "name is another"),
        (("--accession", "NONE"), "no order of accession number 'NONE'"),
        (("--patient-id", "P-9"), "no order of patient ID 'P-9'"),
        (("--accession", "ACC*"), r"without \* \?"),
        (("--accession", "ACC-7", "--worklist", "OTHER"), "found 'OTHER'"),
    ],
)
def test_what_does_not_fit_is_a_question_and_never_a_guess(
    arguments: tuple[str, ...], said: str, worklist: Worklist, ecg: Path
) -> None:
    worklist.add(scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7"))
    with pytest.raises(CommandError, match=said) as caught:
        submit(ecg, *arguments)
    assert "--without-worklist" in str(caught.value) or "expected a UID" in said
    assert not Instance.objects.exists()


@pytest.mark.parametrize("name", ["Li^Na", "李^娜", "li, na", "Li^Na=李^娜"])
def test_a_name_in_any_of_its_scripts_is_the_name(name: str, worklist: Worklist, ecg: Path) -> None:
    worklist.add(scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7"))
    submit(ecg, "--accession", "ACC-7", "--name", name)
    assert str(only().PatientName) == "Li^Na=李^娜"


@pytest.mark.django_db
def test_a_worklist_that_is_away_is_no_reason_to_guess(ecg: Path) -> None:
    Peer.objects.create(title="WORKLIST", host="127.0.0.1", port=1, is_worklist=True)
    with pytest.raises(CommandError, match="WORKLIST: no connection"):
        submit(ecg, "--patient-id", "P-7")
    submit(ecg, "--patient-id", "P-7", "--name", "Typed^Name", "--without-worklist")
    assert str(only().PatientName) == "Typed^Name"


@pytest.mark.django_db
def test_without_any_worklist_what_is_typed_counts_and_is_checked(ecg: Path) -> None:
    with pytest.raises(CommandError, match="expected --patient-id"):
        submit(ecg)
    with pytest.raises(CommandError, match="no worklist is asked"):
        submit(ecg, "--accession", "A")
    with pytest.raises(CommandError, match="patient_birth_date: expected a date"):
        submit(ecg, "--patient-id", "P", "--birth-date", "9 August 1957")
    with pytest.raises(CommandError, match="accession_number: expected at most 16"):
        submit(ecg, "--patient-id", "P", "--accession", "A" * 17)
    submit(ecg, "--patient-id", "P", "--birth-date", "1957-08-09", "--sex", "f")
    assert (only().PatientBirthDate, only().PatientSex) == ("19570809", "F")


@pytest.mark.django_db
def test_a_bad_file_does_not_stop_the_others_and_is_told_at_the_end(ecg: Path) -> None:
    (ecg.parent / "notes.txt").write_text("no picture")
    save_picture(ecg.parent / "ecg.dcm", patient_id="P")
    files = (ecg.parent / "notes.txt", ecg, ecg.parent / "ecg.dcm", ecg.parent / "gone.png")
    with pytest.raises(CommandError, match="2 of 4 not taken") as caught:
        submit(*files, "--patient-id", "P")
    assert "notes.txt: expected a picture" in str(caught.value)
    assert "gone.png: cannot be opened: No such file" in str(caught.value)
    assert Instance.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_waiting_prints_the_result_when_it_is_there(ecg: Path) -> None:
    Image.new("L", (50, 40)).save(ecg.parent / "blank.png")

    def work() -> None:
        try:
            eventually(lambda: Instance.objects.count() == 2)
            first, second = Instance.objects.order_by("pk")
            analyse(first, {"af": 0.931, "pac": 0.4})
            Instance.objects.filter(pk=first.pk).update(state="delivered")
            reject(second, "blank picture")
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    said = submit(ecg, ecg.parent / "blank.png", "--patient-id", "P", "--wait", "30")
    thread.join()
    assert "AI result, unverified" in said
    assert "Present       93.1 %  Atrial fibrillation" in said
    assert "rejected: no report was made\n    blank picture" in said
