"""What a person says of an ECG is written down once, with all that follows, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from desk_people import make_user
from desk_rows import analyse, make_ecg, make_model_version
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from pytest_django import Settings

from gateway.models import Instance, Review
from models.labels import KEYS
from webadmin import reading
from webadmin.models import Assignment, Deed, Guideline, Label, Reading
from webadmin.reading import NotRecorded, record

pytestmark = pytest.mark.django_db

AF = {**dict.fromkeys(KEYS, "absent"), "af": "present"}


@pytest.fixture
def reader() -> User:
    user = make_user("okafor", "view_instance", "add_reading")
    user.groups.add(Group.objects.create(name="reader"))
    return user


@pytest.fixture
def verifier(settings: Settings) -> User:
    settings.ECG_INSTITUTION = "St Elsewhere"
    user = make_user("lindqvist", "view_instance", "add_reading", "verify_report")
    user.first_name, user.last_name = "Åsa", "Lind^qvist"
    user.save()
    return user


def ecg(**probabilities: float) -> Instance:
    return analyse(make_ecg(data=b""), probabilities or {"af": 0.93})


def say(row: Instance, who: User, decision: str = "confirmed", **more: Any) -> Reading:
    return record(row, who, decision=decision, **{"shown": row.model_version, **more})


def test_confirming_takes_over_what_the_network_found_and_is_the_label(reader: User) -> None:
    author = make_user("author")
    rules = Guideline.objects.create(version="3", text="What counts.", written_by=author)
    row = ecg(af=0.93, pac=0.4)
    said = say(row, reader, comment=" irregular ", took_s=4.2)
    assert said.findings == AF | {"pac": "undecided"}
    assert (said.role, said.comment, said.took_s, said.guideline) == (
        "reader",
        "irregular",
        4.2,
        rules,
    )
    assert said.shown == row.model_version
    label = Label.objects.get(instance=row)
    assert (label.findings, label.source, label.decided_by) == (said.findings, "single", reader)
    assert list(label.readings.all()) == [said]
    deed = Deed.objects.get(action="read")
    assert (deed.actor, deed.uid) == ("okafor", row.sop_instance_uid)
    assert deed.detail == {"reading": said.pk, "decision": "confirmed"}


def test_overriding_says_something_else_and_is_the_label(reader: User) -> None:
    row = ecg(af=0.93)
    flutter = AF | {"af": "absent", "afl": "present"}
    assert say(row, reader, "overridden", findings=flutter).findings == flutter
    assert Label.objects.get(instance=row).findings == flutter


@pytest.mark.parametrize("decision", ["undecided", "unreadable"])
def test_who_does_not_decide_makes_no_label(reader: User, decision: str) -> None:
    row = ecg()
    assert set(say(row, reader, decision, findings=AF).findings.values()) == {"undecided"}
    assert not Label.objects.exists()


@pytest.mark.parametrize(
    ("decision", "findings", "why"),
    [
        ("maybe", None, "expected a decision"),
        ("overridden", None, "each of the ten"),
        ("overridden", {"af": "present"}, "each of the ten"),
        ("overridden", AF | {"af": "perhaps"}, "each of the ten"),
        ("overridden", AF, "Nothing differs"),
        ("overridden", AF | {"normal": "present"}, "do not go together"),
        ("confirmed", AF | {"pvc": "present"}, "differs from the findings"),
        ("blinded", AF, "no findings shown"),
        ("confirmed", None, "at most 1000"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_nothing_is_written(
    reader: User, decision: str, findings: dict[str, str] | None, why: str
) -> None:
    row = ecg(af=0.93)
    comment = "x" * 1001 if "1000" in why else ""
    with pytest.raises(NotRecorded, match=why):
        say(row, reader, decision, findings=findings, comment=comment)
    assert not Reading.objects.exists()
    assert not Label.objects.exists()


def test_findings_of_another_network_than_the_one_shown_are_not_confirmed(reader: User) -> None:
    row = ecg()
    with pytest.raises(NotRecorded, match="changed meanwhile"):
        say(row, reader, shown=make_model_version(sha256="0" * 64))
    with pytest.raises(NotRecorded, match="changed meanwhile"):
        say(row, reader, shown=None)


def test_one_reader_does_not_outvote_two_who_agreed(reader: User) -> None:
    row = ecg()
    agreed = Label.objects.create(
        instance=row, findings=AF, source=Label.Source.AGREED, decided_by=reader
    )
    say(row, reader)
    assert list(Label.objects.all()) == [agreed]
    say(ecg(), reader)
    assert Label.objects.count() == 2


# --- verified ------------------------------------------------------------------------------------


def test_a_verified_reading_orders_a_report_in_the_readers_name(verifier: User) -> None:
    row = ecg(af=0.93)
    said = say(row, verifier, verify=True, comment="seen")
    review = Review.objects.get()
    assert (review.instance, review.findings, review.comment) == (row, said.findings, "seen")
    assert review.verifier_name == "Lindqvist^Åsa"
    assert (review.verifier_id, review.organization) == ("lindqvist", "St Elsewhere")
    assert Deed.objects.filter(action="verify", actor="lindqvist").exists()


def test_who_may_not_verify_does_not_and_nothing_is_written(
    reader: User, settings: Settings
) -> None:
    settings.ECG_INSTITUTION = "St Elsewhere"
    with pytest.raises(PermissionDenied):
        say(ecg(), reader, verify=True)
    assert not Reading.objects.exists()
    assert not Review.objects.exists()


def test_no_report_is_verified_without_a_name_an_organization_or_a_decision(
    verifier: User, settings: Settings
) -> None:
    with pytest.raises(NotRecorded, match="confirmed or overridden"):
        say(ecg(), verifier, "undecided", verify=True)
    settings.ECG_INSTITUTION = ""
    with pytest.raises(NotRecorded, match="ECG_INSTITUTION"):
        say(ecg(), verifier, verify=True)
    verifier.last_name = ""
    with pytest.raises(NotRecorded, match="family name"):
        say(ecg(), verifier, verify=True)
    assert not Reading.objects.exists()
    assert not Review.objects.exists()


def test_what_cannot_be_verified_is_not_read_either(verifier: User) -> None:
    row = ecg()
    Instance.objects.filter(pk=row.pk).update(state="set_aside")
    row.refresh_from_db()
    with pytest.raises(NotRecorded, match="cannot be verified"):
        say(row, verifier, verify=True)
    assert not Reading.objects.exists()


# --- assigned ------------------------------------------------------------------------------------


def assigned(row: Instance, who: User | None, kind: str = "first") -> Assignment:
    return Assignment.objects.create(instance=row, queue="random", kind=kind, taken_by=who)


def test_a_blinded_reading_does_the_assignment_and_is_no_label_of_its_own(reader: User) -> None:
    row = ecg()
    wanted = assigned(row, reader)
    said = record(row, reader, decision="blinded", findings=AF, assignment=wanted)
    wanted.refresh_from_db()
    assert (wanted.reading, wanted.done_at, wanted.taken_by) == (said, said.read_at, reader)
    assert said.shown is None
    assert not Label.objects.exists()


def test_an_assignment_is_read_by_who_took_it_blinded_and_once(reader: User) -> None:
    row, other = ecg(), make_user("other", "add_reading")
    wanted = assigned(row, other)
    with pytest.raises(NotRecorded, match="not yours"):
        record(row, reader, decision="blinded", findings=AF, assignment=wanted)
    with pytest.raises(NotRecorded, match="no findings shown"):
        say(row, other, assignment=wanted)
    with pytest.raises(NotRecorded, match="of this ECG"):
        record(ecg(), other, decision="blinded", findings=AF, assignment=wanted)
    record(row, other, decision="blinded", findings=AF, assignment=wanted)
    with pytest.raises(NotRecorded, match="not yours"):
        record(row, other, decision="blinded", findings=AF, assignment=wanted)
    assert Reading.objects.count() == 1


def test_nothing_is_read_blinded_that_was_not_assigned(reader: User) -> None:
    with pytest.raises(NotRecorded, match="not assigned"):
        record(ecg(), reader, decision="blinded", findings=AF)


def test_only_who_may_adjudicate_does(reader: User) -> None:
    row = ecg()
    wanted = assigned(row, reader, "adjudication")
    with pytest.raises(PermissionDenied):
        say(row, reader, assignment=wanted)
    judge = make_user("judge", "add_reading", "adjudicate")
    Assignment.objects.update(taken_by=judge)
    wanted.refresh_from_db()
    say(row, judge, "overridden", findings=AF | {"pvc": "present"}, assignment=wanted)
    assert Label.objects.get().source == "adjudicated"


@pytest.mark.parametrize(
    ("family", "given", "written"),
    [
        ("Okafor", "Ngozi", "Okafor^Ngozi"),
        ("", "Ngozi", ""),
        ("王", "小东", "王^小东"),
        ("O=K^A\\", "N\n", "OKA^N"),
        ("Okafor", "", "Okafor"),
    ],
)
def test_a_name_is_written_as_dicom_writes_it(family: str, given: str, written: str) -> None:
    assert reading.person_name(User(last_name=family, first_name=given)) == written
