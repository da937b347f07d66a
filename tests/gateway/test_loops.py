"""A result of ours that comes back is never analysed again; everything else is."""

from __future__ import annotations

import functools
from copy import deepcopy
from pathlib import Path

import pytest
from desk_rows import analyse, compose, make_ecg
from pictures import picture
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pytest_django import Settings

from gateway import loops, sources
from gateway.loops import OTHER, OWN, own_result
from gateway.models import Installation, Report
from gateway.outputs import Language, Output

pytestmark = pytest.mark.django_db


DEVICE_UID = "2.25.123456789012345678901234567890"


@pytest.fixture(autouse=True)
def _here(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    Installation.objects.create(pk=1, device_uid=DEVICE_UID)


def results() -> dict[Output, Dataset]:
    """Return every kind of result of one ECG, made by an installation with DEVICE_UID."""
    return deepcopy(_composed_once())


@functools.cache
def _composed_once() -> dict[Output, Dataset]:
    ecg = analyse(make_ecg(), {"af": 0.93})
    made = sources.reports_of(ecg, list(Output), Language.ENGLISH)
    return {output: ds for output, (ds, _) in made.items()}


def test_a_report_made_here_is_known_by_its_uid_whatever_its_header_says() -> None:
    ecg = analyse(make_ecg(), {"af": 0.93})
    report: Report = compose(ecg)[0]
    assert own_result(Dataset(), report.sop_instance_uid) == OWN


def test_every_kind_of_result_is_known_under_another_uid_too() -> None:
    made = results()
    assert set(made) == set(Output)
    for output, ds in made.items():
        ds.SOPInstanceUID = generate_uid()
        assert own_result(ds, ds.SOPInstanceUID) == OWN, output


def test_a_result_of_another_installation_is_known() -> None:
    for output, ds in results().items():
        Installation.objects.update(device_uid="2.25.424242424242")
        assert own_result(ds, ds.SOPInstanceUID) == OTHER, output


def test_one_trace_of_us_is_enough() -> None:
    made = results()[Output.BASIC_TEXT]
    traces = {
        "ContributingEquipmentSequence",
        "AuthorObserverSequence",
        "ContentSequence",
        "Manufacturer",
    }
    for left in traces:
        ds = deepcopy(made)
        for keyword in traces - {left}:
            delattr(ds, keyword)
        assert own_result(ds, str(generate_uid())) == OWN, left


def test_a_picture_of_a_cart_and_one_that_was_handed_in_are_none() -> None:
    handed_in = picture()
    assert own_result(handed_in, handed_in.SOPInstanceUID) is None
    from_cart = picture()
    from_cart.Manufacturer, from_cart.ManufacturerModelName = "GE", "MAC 2000"
    acquired, purpose = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    acquired.PurposeOfReferenceCodeSequence = Sequence([purpose])
    acquired.Manufacturer = "GE"
    from_cart.ContributingEquipmentSequence = Sequence([acquired])
    assert own_result(from_cart, from_cart.SOPInstanceUID) is None


def test_a_header_with_something_else_in_place_of_a_sequence_is_no_result() -> None:
    ds = picture()
    ds.add_new("ContributingEquipmentSequence", "LO", "ECG Gateway")
    ds.add_new("AuthorObserverSequence", "UI", "1.2.3")
    assert own_result(ds, ds.SOPInstanceUID) is None


def test_we_are_called_as_in_what_we_make() -> None:
    device = sources.device()
    assert (device.manufacturer, device.model) == (loops.MANUFACTURER, loops.MODEL)


def test_a_spooled_report_read_back_is_known(tmp_path: Path) -> None:
    ds = results()[Output.RESULT_PAGE]
    path = tmp_path / "page.dcm"
    ds.save_as(path, enforce_file_format=True)
    header = dcmread(path, stop_before_pixels=True)
    assert own_result(header, str(generate_uid())) == OWN
