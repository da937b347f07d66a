"""Where a network looked is drawn by a Steward when it is asked for, and shows no patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, drawn, make_ecg
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from PIL import Image
from programs import eventually
from pytest_django import Settings
from same_database import database_url
from workers import broker, worker

from gateway import doorbell, heatmaps, serving
from gateway.models import Instance
from models.artifact import Artifact, default_artifact
from models.page import find_page


@pytest.fixture(autouse=True)
def spool_folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    monkeypatch.setenv("ECG_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def looker(db: None) -> Client:
    return signed_in(make_user("looker", "view_instance"))


def read_by_what_ships(row: Instance) -> Instance:
    """Have an ECG's findings be those of the network that ships."""
    version = serving.row_of(Artifact.load(default_artifact()))
    row.findings.update(model_version=version)
    row.model_version = version
    row.save(update_fields=["model_version"])
    return row


@pytest.mark.django_db(transaction=True)
def test_the_desk_asks_a_steward_draws_and_the_layer_lies_on_the_tracing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "gateway.settings")
    monkeypatch.setattr(doorbell, "_silent_until", 0.0)
    raster = drawn("af", seed=7)
    row = read_by_what_ships(analyse(make_ecg(raster), {"af": 0.93}))
    browser = signed_in(make_user("looker", "view_instance"))
    address = reverse("reading_map", args=[row.pk, "af"])
    assert browser.get(address).status_code == 202
    with broker(tmp_path), worker("upkeep"):
        assert browser.post(address).status_code == 202
        eventually(lambda: browser.get(address).status_code != 202, timeout_s=120)
    answer = browser.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    assert "no-cache" in answer["Cache-Control"]
    again = browser.get(address, headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304

    path = heatmaps.find(row, "af")
    assert path is not None
    layer = np.asarray(Image.open(path))
    shrink = layer.shape[1] / raster.shape[1]
    assert layer.shape[:2] == (round(raster.shape[0] * shrink), 1600)
    opacity = layer[..., 3]
    assert opacity.max() == 255  # the contour
    corners = np.array(find_page(raster).region) * shrink
    left, top = corners.min(axis=0).astype(int)
    right, bottom = corners.max(axis=0).astype(int) + 1
    outside = opacity.copy()
    outside[top:bottom, left:right] = 0
    assert not outside.any()
    # One hue and how much of it: nothing of the picture, so no name that is printed on it.
    assert len(np.unique(layer[opacity > 0][:, :3], axis=0)) == 1


@pytest.mark.django_db
def test_what_one_is_drawing_another_leaves_alone_until_that_one_is_gone(
    spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    drawn_now: list[str] = []

    def draw(instance: Instance, key: str) -> None:
        drawn_now.append(key)
        heatmaps.draw_apart(instance, key)

    monkeypatch.setattr(heatmaps, "_draw_apart", draw)
    heatmaps.draw_apart(row, "af")
    assert drawn_now == ["af"]
    # One that was killed leaves the file and no lock.
    (spool_folder / "heatmaps" / f"{row.pk}-{row.model_version_id}-af.drawing").touch()
    heatmaps.draw_apart(row, "af")
    assert drawn_now == ["af"] * 2
    assert not list((spool_folder / "heatmaps").iterdir())


def test_why_nothing_is_drawn_is_told_and_asked_anew_by_a_post(looker: Client) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    with pytest.raises(CommandError, match="not kept here"):
        call_command("explain", row.pk, "af")
    address = reverse("reading_map", args=[row.pk, "af"])
    answer = looker.get(address)
    assert answer.status_code == 422
    assert "the network that read this ECG is not kept here" in answer.json()["reason"]
    assert looker.get(reverse("reading_map", args=[row.pk, "pac"])).status_code == 202


def test_without_a_broker_nobody_waits(looker: Client) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    assert not Path(django_settings.ECG_VALKEY_SOCKET).exists()
    answer = looker.post(reverse("reading_map", args=[row.pk, "af"]))
    assert answer.status_code == 503
    assert "broker" in answer.json()["reason"]


def test_an_ecg_that_no_network_has_read_has_no_layer(looker: Client) -> None:
    row = make_ecg()
    assert looker.post(reverse("reading_map", args=[row.pk, "af"])).status_code == 404
    analyse(row, {})
    assert looker.post(reverse("reading_map", args=[row.pk, "nothing"])).status_code == 404
    with pytest.raises(CommandError, match="expected the number of an ECG"):
        call_command("explain", row.pk + 1, "af")


@pytest.mark.django_db
def test_of_two_pages_read_as_one_nothing_is_drawn() -> None:
    row = read_by_what_ships(analyse(make_ecg(), {"af": 0.93}))
    row.pages = [{"number": 1, "joined_with": 2}, {"number": 2, "joined_with": 1}]
    row.save(update_fields=["pages"])
    with pytest.raises(heatmaps.NotDrawn, match="two pages side by side"):
        heatmaps.draw(row, ["af"])


@pytest.mark.django_db
def test_the_oldest_layers_are_thrown_away(
    spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmaps, "KEPT", 2)
    rows = [analyse(make_ecg(data=b""), {}) for _ in range(4)]
    for row in rows:
        with pytest.raises(heatmaps.NotDrawn):
            heatmaps.draw(row, ["af"])
    assert len(list((spool_folder / "heatmaps").iterdir())) == 2
