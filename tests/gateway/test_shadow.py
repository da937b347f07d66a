"""Networks in shadow: each has its turn, and what breaks one reading breaks no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_rows import analyse, drawn, make_ecg
from pytest_django import Settings
from training_rows import kept

from gateway import network, pages, serving, shadow
from gateway.models import ModelVersion, ShadowReading

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two(settings: Settings, tmp_path: Path) -> Iterator[list[ModelVersion]]:
    """Have two networks read along beside the one that serves."""
    settings.ECG_MODELS_DIR = tmp_path / "models"
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_SWEEP_S = 1000.0
    versions = [kept(tmp_path / "models", f"1.0.0+{number}") for number in (1, 2)]
    for version in versions:
        shadow.start(version)
    yield versions
    shadow._load.cache_clear()
    network.model_version.cache_clear()


def read_by(version: ModelVersion) -> list[int]:
    """Return the ECGs that a network has read, in the order it did."""
    rows = ShadowReading.objects.filter(model_version=version, read_at__isnull=False)
    return list(rows.order_by("pk").values_list("instance", flat=True))


def test_each_network_has_its_turn_after_the_other(two: list[ModelVersion]) -> None:
    served = serving.champion()
    ecgs = [analyse(make_ecg(drawn("af", seed=1)), {"af": 0.9}) for _ in range(3)]
    for ecg in ecgs:
        ecg.model_version = served
        ecg.save(update_fields=["model_version"])
    assert shadow.read_along() == 6
    order = list(ShadowReading.objects.order_by("pk").values_list("model_version", flat=True))
    assert order == [version.pk for _ in ecgs for version in two]
    assert [read_by(version) for version in two] == [[ecg.pk for ecg in ecgs]] * 2
    assert shadow.read_along() == 0


def test_what_breaks_one_reading_is_written_down_and_breaks_no_other(
    two: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = (analyse(make_ecg(drawn("af", seed=1)), {"af": 0.9}) for _ in range(2))
    really = pages.pages

    def broken(path: Path) -> Iterator[pages.PageOrReason]:
        if path.name == Path(bad.spool_name).name:
            raise RuntimeError("the decoder fell over")
        return really(path)

    monkeypatch.setattr(pages, "pages", broken)
    shadow.read_along()
    for version in two:
        assert read_by(version) == [bad.pk, good.pk]
        said = ShadowReading.objects.get(model_version=version, instance=bad).reason
        assert said == "RuntimeError: the decoder fell over"
        assert good.findings.filter(model_version=version).exists()
        assert not bad.findings.filter(model_version=version).exists()
