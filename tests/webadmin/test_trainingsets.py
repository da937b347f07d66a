"""Freezing: what is in a set and on which side, that it never changes, that the test is locked."""

from __future__ import annotations

import datetime
import json
from io import StringIO

import pytest
from desk_readings import ecg, label, reader, words
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from gateway import retention, spool
from gateway.models import Instance, Study
from gateway.states import State
from webadmin import curation, trainingsets
from webadmin.models import Label, SplitOpening, TrainingItem, TrainingSet

pytestmark = pytest.mark.django_db
Split = TrainingItem.Split


@pytest.fixture(autouse=True)
def same_key(settings: Settings) -> None:
    """Have the hashes that decide on a patient's side be those of the last run."""
    settings.SECRET_KEY = "the same in each run"


@pytest.fixture
def anna() -> User:
    return reader("anna")


def splits() -> dict[str, set[str]]:
    """Return the splits in which each patient is, over all sets."""
    found: dict[str, set[str]] = {}
    for item in TrainingItem.objects.select_related("instance__study"):
        study = item.instance.study
        assert study is not None
        found.setdefault(study.patient_id, set()).add(item.split)
    return found


def test_a_set_holds_every_labelled_ecg_with_the_label_of_that_time(anna: User) -> None:
    rows = [ecg() for _ in range(3)]
    ecg()
    label(rows[0], anna, "af")
    label(rows[1], anna)
    old = label(rows[2], anna, "pvc")
    frozen = trainingsets.freeze("first", anna, note="of spring")
    assert {item.instance for item in frozen.items.all()} == set(rows)
    label(rows[2], anna, "pac")
    item = frozen.items.get(instance=rows[2])
    assert (item.label, item.findings) == (old, words("pvc"))
    assert sum(split["pvc"] for split in frozen.counts.values()) == 1
    assert sum(split["ecgs"] for split in frozen.counts.values()) == 3
    with pytest.raises(TypeError):
        item.save()
    with pytest.raises(TypeError):
        frozen.delete()


def test_the_hash_is_of_pictures_words_and_splits_alone(anna: User) -> None:
    rows = [ecg() for _ in range(4)]
    for row in rows:
        label(row, anna, "af")
    first = trainingsets.freeze("first", anna)
    with pytest.raises(trainingsets.NotFrozen, match="the training set first holds exactly these"):
        trainingsets.freeze("again", anna)
    label(rows[0], anna, "af", comment="said again, and the same")
    with pytest.raises(trainingsets.NotFrozen, match="exactly"):
        trainingsets.freeze("again", anna)
    label(rows[0], anna, "afl")
    assert trainingsets.freeze("second", anna).sha256 != first.sha256


def test_nothing_is_not_frozen_nor_a_name_twice(anna: User) -> None:
    with pytest.raises(trainingsets.NotFrozen, match="found none"):
        trainingsets.freeze("empty", anna)
    label(ecg(), anna, "af")
    trainingsets.freeze("taken", anna)
    label(ecg(), anna, "af")
    with pytest.raises(trainingsets.NotFrozen, match="name"):
        trainingsets.freeze("taken", anna)
    with pytest.raises(trainingsets.NotFrozen, match="1 to 100"):
        trainingsets.freeze("  ", anna)


def test_a_patient_is_on_one_side_for_ever_whatever_comes_later(
    anna: User, settings: Settings
) -> None:
    for number in range(40):
        label(ecg(patient_id=f"P{number % 20}"), anna, "af")
    trainingsets.freeze("first", anna)
    before = splits()
    settings.SECRET_KEY = "rotated"
    for number in range(30):
        label(ecg(patient_id=f" P{number} "), anna, "af")
    trainingsets.freeze("second", anna)
    after = splits()
    assert all(len(sides) == 1 for sides in after.values())
    for name, sides in before.items():
        assert after[f" {name} "] == sides
    assert {split for sides in after.values() for split in sides} == set(Split.values)


def test_an_ecg_without_a_patient_id_is_its_own_patient_and_never_in_the_test(anna: User) -> None:
    for number in range(40):
        study = Study.objects.create(study_instance_uid=f"1.2.{number}", patient_id="")
        label(ecg(study=study), anna, "af")
    frozen = trainingsets.freeze("nameless", anna)
    assert not frozen.items.filter(split=Split.TEST).exists()
    assert len(set(frozen.items.values_list("patient_sha256", flat=True))) == 40


def test_the_shares_are_those_of_the_corpus() -> None:
    drawn = [trainingsets._drawn(f"patient {number}") for number in range(3000)]
    assert drawn.count(Split.TEST) / 3000 == pytest.approx(0.20, abs=0.03)
    assert drawn.count(Split.VALIDATION) / 3000 == pytest.approx(0.16, abs=0.03)


def test_what_is_left_out_is_said_with_its_reason(anna: User) -> None:
    label(ecg(), anna, "af")
    label(ecg(), anna, findings=dict.fromkeys(words(), "undecided"))
    gone, lost = ecg(), ecg()
    label(gone, anna, "af")
    label(lost, anna, "af")
    Instance.objects.filter(pk=gone.pk).update(aged_out_at=timezone.now())
    spool.remove(lost.spool_name)
    plan = trainingsets.plan()
    assert len(plan.items) == 1
    assert plan.left_out == {
        "nothing was decided about it": 1,
        "its picture was removed by the retention policy": 1,
        "its picture is missing from the spool": 1,
    }


def test_the_word_of_one_reader_teaches_and_does_not_judge(anna: User) -> None:
    for number in range(40):
        label(ecg(patient_id=f"P{number}"), anna, "af", source=Label.Source.SINGLE)
    plan = trainingsets.plan()
    assert {item.split for item in plan.items} == {Split.TRAINING, Split.VALIDATION}
    (reason,) = plan.left_out
    assert "would judge networks" in reason
    assert plan.left_out[reason] == 40 - len(plan.items)
    for row in Instance.objects.all():
        label(row, anna, "af", source=Label.Source.ADJUDICATED)
    assert len(trainingsets.plan().items) == 40


def test_what_is_missing_is_said_before_freezing(anna: User) -> None:
    for number in range(60):
        label(ecg(patient_id=f"P{number}"), anna, "af")
    tests, training = trainingsets.plan().missing
    assert tests.startswith("Fewer than 10 ECGs of the test split show: Normal ECG (0), ")
    assert "Atrial flutter (0)" in tests
    assert "Atrial fibrillation" not in training


def test_the_test_split_is_opened_by_somebody_for_something_and_written_down(anna: User) -> None:
    for number in range(30):
        label(ecg(patient_id=f"P{number}"), anna, "af")
    frozen = trainingsets.freeze("locked", anna)
    assert not trainingsets.open_items(frozen).filter(split=Split.TEST).exists()
    with pytest.raises(ValueError, match="what for"):
        trainingsets.open_test_split(frozen, "anna", " ")
    assert not SplitOpening.objects.exists()
    opened = trainingsets.open_test_split(frozen, "anna", "evaluation")
    assert {item.split for item in opened} == {Split.TEST}
    assert trainingsets.open_items(frozen).count() + opened.count() == 30
    written = frozen.openings.get()
    assert (written.actor, written.purpose) == ("anna", "evaluation")


def test_a_frozen_picture_does_not_age_out(anna: User, settings: Settings) -> None:
    settings.ECG_KEEP_PICTURES_DAYS = 1
    long_ago = timezone.now() - datetime.timedelta(days=9)
    kept, other = ecg(), ecg()
    label(kept, anna, "af")
    Instance.objects.update(state=State.REJECTED, state_since=long_ago, received_at=long_ago)
    trainingsets.freeze("kept", anna)
    retention.apply(actor="test")
    kept.refresh_from_db()
    other.refresh_from_db()
    assert kept.aged_out_at is None
    assert other.aged_out_at is not None
    held = retention.preview()[0].held
    assert held["in a frozen training set"] == 1


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_a_set_is_frozen_listed_and_shown_by_command(anna: User) -> None:
    label(ecg(), anna, "af")
    said = run("trainingset", "freeze", "spring", "--by", "anna")
    assert "spring: 1 ECG" in said
    assert "missing: Fewer than 10 ECGs" in said or "missing: No ECG in the" in said
    assert "spring" in run("trainingset", "list")
    shown = json.loads(run("trainingset", "show", "spring", "--json"))
    assert shown["sha256"] == TrainingSet.objects.get().sha256
    assert shown["openings"] == []


def test_queues_are_filled_by_command(anna: User) -> None:
    row = ecg({"af": 0.4, "normal": 0.01})
    assert "undetermined" in run("curate")
    assert "1" in run("curate", "--request", str(row.pk))
    assert curation.take(anna) is not None
