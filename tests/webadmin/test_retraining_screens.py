"""Training runs and networks at the Desk: who may do what, and what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import analyse, make_ecg
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from training_rows import evaluated, frozen_set, kept

from gateway import network, serving
from gateway.models import Finding, Instance, ModelVersion, Promotion, ShadowReading
from models.labels import KEYS
from webadmin import comparing, retraining
from webadmin.models import Deed, TrainingRun, TrainingSet

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_networks(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_MODELS_DIR = tmp_path / "models"
    yield
    network.model_version.cache_clear()


@pytest.fixture
def candidate(tmp_path: Path) -> ModelVersion:
    """Return a network that is kept here and does not serve."""
    return kept(tmp_path / "models", "1.0.0+1")


@pytest.fixture
def training_set() -> TrainingSet:
    return frozen_set(
        make_user("manager"), {"training": {"normal": 1}, "validation": {"normal": 1}}
    )


def page_of(row: Any, name: str = "change") -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_{name}", args=[row.pk])


def test_only_who_may_promote_promotes_and_only_with_a_reason(
    candidate: ModelVersion, training_set: TrainingSet, chief: Client, reader: Client
) -> None:
    evaluated(candidate, training_set)
    promote = page_of(candidate, "promote")
    assert reader.get(promote).status_code == reader.post(promote).status_code == 403
    assert b"Promote" not in reader.get(page_of(candidate)).content
    promoter = signed_in(make_user("promoter", *READ, "promote_modelversion"))
    assert promote in promoter.get(page_of(candidate)).content.decode()
    asked = promoter.get(promote).content.decode()
    assert "Atrial fibrillation is better." in asked
    refused = promoter.post(promote, {"reason": " "})
    assert refused.status_code == 400
    assert b"expected a reason" in refused.content
    assert not Promotion.objects.exists()

    before = serving.champion()
    done = promoter.post(promote, {"reason": "better at AF"}, follow=True)
    assert "serves from the next batch on" in done.content.decode()
    row = Promotion.objects.get()
    assert (row.model_version, row.previous, row.actor) == (candidate, before, "user:promoter")
    assert Deed.objects.filter(actor="promoter", action="promote").count() == 1

    # One click and a reason, and what served before serves again.
    back = page_of(candidate, "roll_back")
    assert back in promoter.get(page_of(candidate)).content.decode()
    assert reader.post(back, {"reason": "no"}).status_code == 403
    promoter.post(back, {"reason": "too many calls"})
    assert serving.champion() == before
    assert chief.post(back, {"reason": "again"}).status_code == 400


def test_nobody_chooses_the_set_on_which_a_network_looks_well(
    candidate: ModelVersion, training_set: TrainingSet, chief: Client
) -> None:
    other = frozen_set(
        make_user("second"), {"training": {"af": 1}, "validation": {"af": 1}}, name="other"
    )
    evaluated(candidate, other, is_better=False, reasons=["Atrial fibrillation is worse."])
    evaluated(candidate, training_set)
    assert page_of(candidate, "promote") not in chief.get(page_of(candidate)).content.decode()
    answer = chief.post(page_of(candidate, "promote"), {"reason": "better at home"})
    assert "Atrial fibrillation is worse." in answer.content.decode()
    assert not Promotion.objects.exists()
    evaluated(candidate, other)
    chief.post(page_of(candidate, "promote"), {"reason": "better everywhere"})
    assert serving.champion() == candidate


def test_a_roll_back_is_of_the_network_that_was_looked_at(
    candidate: ModelVersion, training_set: TrainingSet, tmp_path: Path, chief: Client
) -> None:
    first = serving.champion()
    evaluated(candidate, training_set)
    chief.post(page_of(candidate, "promote"), {"reason": "better"})
    later = kept(tmp_path / "models", "1.0.0+2")
    evaluated(later, training_set)
    chief.post(page_of(later, "promote"), {"reason": "better still"})
    # A tab that was open since before, and a second press of the same button.
    assert chief.post(page_of(candidate, "roll_back"), {"reason": "worse"}).status_code == 400
    for _ in range(2):
        chief.post(page_of(later, "roll_back"), {"reason": "worse"})
    assert serving.champion() == candidate != first


def test_a_network_that_is_not_better_has_no_way_to_be_promoted(
    candidate: ModelVersion, training_set: TrainingSet, chief: Client
) -> None:
    assert b"was not evaluated beside the network" in chief.get(page_of(candidate)).content
    reasons = ["Atrial flutter is worse by more than 0.01."]
    evaluated(candidate, training_set, is_better=False, reasons=reasons)
    shown = chief.get(page_of(candidate)).content.decode()
    assert "not to be promoted" in shown
    assert reasons[0] in shown
    assert page_of(candidate, "promote") not in shown
    answer = chief.post(page_of(candidate, "promote"), {"reason": "I want it"})
    assert (answer.status_code, Promotion.objects.count()) == (400, 0)
    assert reasons[0] in answer.content.decode()


def test_shadow_is_switched_by_who_may_change_networks(
    candidate: ModelVersion, reader: Client
) -> None:
    switch = page_of(candidate, "shadow")
    assert reader.post(switch, {"shadow": "on"}).status_code == 403
    engineer = signed_in(make_user("engineer", *READ, "change_modelversion"))
    assert engineer.get(switch).status_code == 405
    engineer.post(switch, {"shadow": "on"})
    candidate.refresh_from_db()
    assert candidate.shadow_since is not None
    listed = engineer.get(reverse("admin:gateway_modelversion_changelist")).content.decode()
    assert "In shadow" in listed
    engineer.post(switch, {"shadow": "off"})
    candidate.refresh_from_db()
    assert candidate.shadow_since is None


def read_in_shadow(row: Instance, version: ModelVersion, probability: float) -> None:
    """Have a network in shadow say the same of every finding."""
    ShadowReading.objects.create(instance=row, model_version=version, read_at=timezone.now())
    Finding.objects.bulk_create(
        Finding(
            instance=row,
            model_version=version,
            key=key,
            probability=probability,
            threshold=0.5,
            verdict="present" if probability >= 0.5 else "absent",
        )
        for key in KEYS
    )


def test_what_is_said_in_shadow_is_compared_and_shown_nowhere_else(
    candidate: ModelVersion, chief: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    sick, well = analyse(make_ecg(), {"af": 0.9}), analyse(make_ecg(), {"af": 0.1})
    read_in_shadow(sick, candidate, 0.95)
    read_in_shadow(well, candidate, 0.95)
    compared = comparing.compare(candidate)
    af = next(one for one in compared.findings if one.meaning == "Atrial fibrillation")
    assert (af.ecgs, af.both, af.only_shadow, af.only_serving, af.neither) == (2, 1, 1, 0, 0)
    assert af.agreement == pytest.approx(0.5)
    assert af.difference == pytest.approx((0.05 + 0.85) / 2)
    assert (compared.read, compared.refused, compared.unfinished) == (2, 0, 0)
    with django_assert_max_num_queries(40):
        shown = chief.get(page_of(candidate)).content.decode()
    assert "In shadow: what it says beside what was reported" in shown
    for where in (page_of(well), page_of(well.study), reverse("admin:gateway_instance_changelist")):
        assert "95.0%" not in chief.get(where).content.decode()
    assert well.study is not None
    by_finding = reverse("admin:gateway_instance_changelist") + "?finding=af"
    assert f">{well.study.patient_id}<" not in chief.get(by_finding).content.decode()


def test_a_run_is_started_followed_and_cancelled_at_the_desk(
    training_set: TrainingSet, reader: Client
) -> None:
    start = reverse("admin:webadmin_trainingrun_start")
    assert reader.get(start).status_code == 403
    assert reader.get(reverse("admin:webadmin_trainingrun_changelist")).status_code == 403
    rights = ("view_trainingrun", "add_trainingrun", "change_trainingrun")
    engineer = signed_in(make_user("engineer", *READ, *rights))
    assert start in engineer.get(reverse("admin:webadmin_trainingrun_changelist")).content.decode()
    wrong = engineer.post(start, {"training_set": training_set.pk, "epochs": 0})
    assert (wrong.status_code, TrainingRun.objects.count()) == (200, 0)
    engineer.post(start, {"training_set": training_set.pk, "epochs": 3})
    run = TrainingRun.objects.get()
    assert (run.recipe["epochs"], run.recipe["all_layers"]) == (3, False)
    again = engineer.post(start, {"training_set": training_set.pk})
    assert b"is under way" in again.content

    claimed = retraining.claim()
    assert claimed is not None
    epoch = {"epoch": 1, "training_loss": 0.9, "loss": 0.7, "auroc": 0.8, "seconds": 4.0}
    retraining.note(claimed, state="training", progress=0.4, time_left_s=90.0, curve=[epoch])
    shown = engineer.get(page_of(run)).content.decode()
    assert f'data-live="{page_of(run, "live")}"' in shown
    live = engineer.get(page_of(run, "live")).content.decode()
    assert "about 2 min left" in live
    assert 'value="40"' in live
    assert "<polyline" in live
    assert "data-live-done" not in live

    cancel = page_of(run, "cancel")
    assert reader.post(cancel).status_code == 403
    engineer.post(cancel)
    run.refresh_from_db()
    assert run.is_cancel_asked
    with pytest.raises(retraining.Cancelled):
        retraining.note(claimed)
    retraining.end(claimed, "cancelled")
    assert "data-live-done" in engineer.get(page_of(run, "live")).content.decode()


def test_an_empty_list_says_what_to_do_first(chief: Client) -> None:
    shown = chief.get(reverse("admin:webadmin_trainingrun_changelist")).content.decode()
    assert "freeze them as a training set first" in shown
