"""Pictures of ECGs: for signed-in people, the right size, and a reason where there is none."""

from __future__ import annotations

import io
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from desk_people import make_user, signed_in
from desk_rows import content, drawn, make_ecg
from django.test import Client
from django.urls import reverse
from pdfs import encapsulated, pdf_of
from PIL import Image
from pydicom.uid import UID
from waveforms import heart, twelve_lead

from dicom_node.capture import secondary_capture
from gateway.models import Instance
from webadmin.preview import FULL_PX, THUMBNAIL_PX, to_png


def address(instance: Instance) -> str:
    """Return where the picture of an ECG is."""
    return reverse("admin:gateway_instance_picture", args=[instance.pk])


def test_the_picture_is_the_page_scaled_to_the_longest_side(reader: Client) -> None:
    page = drawn()
    ecg = make_ecg(page)
    answer = reader.get(address(ecg))
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.width == FULL_PX < page.shape[1]
    assert picture.height == pytest.approx(FULL_PX * page.shape[0] / page.shape[1], abs=1)
    expected = Image.fromarray(page).resize(picture.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(picture, float) - np.asarray(expected, float)).mean() < 3

    small = reader.get(address(ecg), {"size": "thumbnail"})
    assert max(Image.open(io.BytesIO(small.content)).size) == THUMBNAIL_PX


@pytest.mark.parametrize("kind", ["waveform", "pdf"])
def test_what_is_no_picture_is_shown_as_the_page_that_was_read(reader: Client, kind: str) -> None:
    ds = twelve_lead(heart(), 250.0) if kind == "waveform" else encapsulated(pdf_of(drawn()))
    ecg = make_ecg(data=content(ds))
    answer = reader.get(address(ecg))
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png"), answer.content
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"))
    assert picture.shape[1] > 1000
    assert picture.min() < 80, "a trace"
    shown = reader.get(reverse("admin:gateway_instance_change", args=[ecg.pk]))
    assert "cannot be shown" not in shown.content.decode()


def test_a_small_picture_is_served_as_it_is() -> None:
    raster = np.arange(600, dtype=np.uint8).reshape(20, 30)
    served = Image.open(io.BytesIO(to_png(raster, longest_px=1600)))
    assert (np.asarray(served) == raster).all()


def test_a_browser_that_has_the_picture_gets_304_and_no_decoding(reader: Client) -> None:
    ecg = make_ecg()
    tag = reader.get(address(ecg))["ETag"]
    assert ecg.sha256 in tag
    Instance.objects.filter(pk=ecg.pk).update(spool_name="instances/00/gone.dcm")
    again = reader.get(address(ecg), headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = reader.get(address(ecg), {"size": "thumbnail"}, headers={"If-None-Match": tag})
    assert other.status_code == 404


def test_no_shared_cache_keeps_it_and_permission_is_asked_each_time(reader: Client) -> None:
    ecg = make_ecg()
    answer = reader.get(address(ecg))
    assert answer["Cache-Control"] == "private, no-cache"
    assert answer["X-Content-Type-Options"] == "nosniff"
    stranger = signed_in(make_user("passer-by"))
    seen = stranger.get(address(ecg), headers={"If-None-Match": answer["ETag"]})
    assert seen.status_code == 403


def test_what_the_machine_lacks_now_is_said_and_passes(reader: Client) -> None:
    ecg = make_ecg()
    assert reader.get(reverse("admin:index")).status_code == 200
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Fill what is free below the highest number, so that the limit leaves none.
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    opened = [os.open(os.devnull, os.O_RDONLY)]
    while opened[-1] <= highest:
        opened.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened[-1] + 1, limits[1]))
    try:
        answer = reader.get(address(ecg))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in opened:
            os.close(one)
    assert (answer.status_code, answer["Cache-Control"]) == (503, "no-store")
    assert "try again later" in answer.content.decode()
    assert reader.get(address(ecg)).status_code == 200


CAPTURE = content(secondary_capture(drawn(), patient_id="X"))


@pytest.mark.parametrize(
    "data",
    [CAPTURE[: len(CAPTURE) // 3], CAPTURE[:200], b"", b"\x89PNG\r\n\x1a\n" + bytes(500)],
    ids=["cut off", "header only", "empty", "no DICOM"],
)
@pytest.mark.django_db
def test_a_damaged_object_is_answered_with_the_reason_in_words(reader: Client, data: bytes) -> None:
    for query in ({}, {"size": "thumbnail"}):
        answer = reader.get(address(make_ecg(data=data)), query)
        assert answer.status_code == 422
        assert answer["Content-Type"].startswith("text/plain")
        assert answer["Cache-Control"] == "no-store"
        assert answer.content.decode().startswith("This object cannot be shown: ")


def test_a_declared_giant_costs_nothing(reader: Client) -> None:
    ds = secondary_capture(np.zeros((8, 8), np.uint8), patient_id="X")
    ds.Rows = ds.Columns = 65535
    assert reader.get(address(make_ecg(data=content(ds)))).status_code == 422


def test_a_file_the_spool_has_lost_is_not_found_and_says_so(reader: Client) -> None:
    ecg = make_ecg()
    Instance.objects.filter(pk=ecg.pk).update(spool_name="instances/00/gone.dcm")
    answer = reader.get(address(ecg))
    assert answer.status_code == 404
    assert "missing from the spool" in answer.content.decode()


def test_the_page_that_was_read_is_the_page_that_is_shown(reader: Client) -> None:
    ds = secondary_capture(np.zeros((40, 60), np.uint8), patient_id="X")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.2")
    ds.NumberOfFrames = 2
    ds.PixelData = bytes(2400) + b"\xc8" * 2400
    ecg = make_ecg(data=content(ds), frame_number=2)
    picture = Image.open(io.BytesIO(reader.get(address(ecg)).content))
    assert np.unique(np.asarray(picture)).tolist() == [200]
    assert (
        "Page 2 of 2"
        in reader.get(reverse("admin:gateway_instance_change", args=[ecg.pk])).content.decode()
    )
