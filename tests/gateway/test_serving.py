"""Which network serves: a row says it, and never another one in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_rows import drawn, make_ecg
from django.utils import timezone
from pytest_django import Settings
from training_rows import kept, like_the_one_that_ships

from gateway import network, pipeline, serving, shadow
from gateway.models import Finding, Instance, ModelVersion, Promotion, ShadowReading
from gateway.states import State
from models.artifact import WEIGHTS, ArtifactError
from models.labels import KEYS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _own_folders(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_MODELS_DIR = tmp_path / "models"
    yield
    network.model_version.cache_clear()


def promoted(row: ModelVersion, kind: str = "promoted") -> Promotion:
    """Write that a network began to serve, as `serving.promote` does at its end."""
    return Promotion.objects.create(
        model_version=row, previous=serving.champion(), kind=kind, actor="test", reason="test"
    )


def small_ecg() -> Instance:
    return make_ecg(drawn("af", style="grey")[::2, ::2])


def test_a_batch_is_read_by_the_network_that_the_latest_promotion_names(tmp_path: Path) -> None:
    first, second = small_ecg(), small_ecg()
    shipped = serving.champion()
    pipeline.analyse_waiting()
    one = kept(tmp_path / "models", "1.0.0+1")
    promoted(one)
    third = small_ecg()
    pipeline.analyse_waiting()
    read_by = [Instance.objects.get(pk=row.pk).model_version for row in (first, second, third)]
    assert read_by == [shipped, shipped, one]
    assert set(third.findings.values_list("model_version", flat=True)) == {one.pk}


def test_ecgs_wait_for_a_network_that_is_not_what_it_was_and_no_other_stands_in(
    tmp_path: Path,
) -> None:
    row = kept(tmp_path / "models", "1.0.0+2")
    promoted(row)
    weights = tmp_path / "models" / "1.0.0+2" / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    ecg = small_ecg()
    pipeline.analyse_waiting()
    ecg.refresh_from_db()
    assert (ecg.state, ecg.attempts, ecg.lease_token) == (State.RECEIVED, 0, None)
    assert f"no network to read with: {WEIGHTS}: expected SHA-256" in ecg.last_error
    assert not Finding.objects.exists()

    weights.write_bytes(whole)
    Instance.objects.update(not_before=timezone.now())
    pipeline.analyse_waiting()
    ecg.refresh_from_db()
    assert (ecg.state, ecg.model_version) == (State.ANALYSED, row)


def test_an_artifact_that_is_another_networks_is_not_served(tmp_path: Path) -> None:
    row = kept(tmp_path / "models", "1.0.0+3")
    other = kept(tmp_path / "models", "1.0.0+4")
    row.folder = other.folder
    with pytest.raises(ArtifactError, match=r"expected ecg-test@1\.0\.0\+3 .* found ecg-test@1"):
        serving.verified(row)
    row.folder = ""
    with pytest.raises(ArtifactError, match="is not kept here"):
        serving.verified(row)


def test_what_shipped_is_kept_when_it_is_replaced_and_serves_again_whatever_ships_then(
    settings: Settings, tmp_path: Path
) -> None:
    like_the_one_that_ships(tmp_path / "shipped", version="1.0.0")
    settings.ECG_MODEL_DIR = str(tmp_path / "shipped")
    before = serving.keep(serving.champion())
    assert before.folder == "ecg-test-1.0.0"
    like_the_one_that_ships(tmp_path / "next", version="2.0.0")
    settings.ECG_MODEL_DIR = str(tmp_path / "next")
    assert serving.champion() != before
    assert serving.verified(before).card.version == "1.0.0"
    assert serving.keep(before).folder == "ecg-test-1.0.0"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["ecg-test-1.0.0"]


def test_a_roll_back_goes_one_promotion_further_each_time(tmp_path: Path) -> None:
    shipped = serving.keep(serving.champion())
    one = kept(tmp_path / "models", "1.0.0+5")
    two = kept(tmp_path / "models", "1.0.0+6")
    promoted(one)
    promoted(two)
    assert serving.previous() == one
    assert serving.roll_back(actor="test", reason="worse").model_version == one
    assert serving.previous() == shipped
    with pytest.raises(serving.NotPromoted, match="expected a reason"):
        serving.roll_back(actor="test", reason="  ")
    assert serving.roll_back(actor="test", reason="worse").model_version == shipped
    assert serving.champion() == shipped
    with pytest.raises(serving.NotPromoted, match="found none that holds"):
        serving.roll_back(actor="test", reason="worse")


def test_a_network_in_shadow_reads_when_nothing_waits_and_reads_an_ecg_once(
    tmp_path: Path,
) -> None:
    before = small_ecg()
    pipeline.analyse_waiting()
    row = kept(tmp_path / "models", "1.0.0+7")
    shadow.start(row)
    read, ended, aged = small_ecg(), small_ecg(), small_ecg()
    pipeline.analyse_waiting()
    Instance.objects.filter(pk=aged.pk).update(aged_out_at=timezone.now())
    # One that ended the process that read it is not tried again.
    ShadowReading.objects.create(instance=ended, model_version=row)
    waits = small_ecg()
    assert shadow.read_along() == 0, "an ECG waits for its report"
    pipeline.analyse_waiting()
    assert shadow.read_along() == 2
    assert shadow.read_along() == 0
    done = ShadowReading.objects.filter(read_at__isnull=False).order_by("pk")
    assert list(done.values_list("instance", "reason")) == [(read.pk, ""), (waits.pk, "")]
    assert row.findings.count() == 2 * len(KEYS)
    assert not row.findings.filter(instance=before).exists()
    shadow.stop(row)
    small_ecg()
    pipeline.analyse_waiting()
    assert shadow.read_along() == 0


def test_why_a_network_in_shadow_found_nothing_is_kept(tmp_path: Path) -> None:
    row = kept(tmp_path / "models", "1.0.0+8")
    shadow.start(row)
    ecg = small_ecg()
    pipeline.analyse_waiting()
    (tmp_path / "spool" / ecg.spool_name).unlink()
    assert shadow.read_along() == 1
    assert ShadowReading.objects.get().reason.startswith("SpoolError")
    assert not row.findings.exists()
