"""Whatever is wrong with a waveform, the answer is an ImageError, soon, in little memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import waveforms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import UID
from waveforms import code, group, samples_uv, scpecg, twelve_lead, waveform_object

from dicom_node.contexts import TRANSFER_SYNTAXES
from dicom_node.errors import ImageError
from dicom_node.image import StoredImage, read_header
from dicom_node.leads import LEADS
from dicom_node.part10 import MAX_HEADER_BYTES
from dicom_node.waveform import Recording, read, recording_of

NAME = "Test^Patient"


def fault(ds: Dataset) -> str:
    """Return why an object gives no recording."""
    with pytest.raises(ImageError) as failure:
        recording_of(ds)
    assert not failure.value.retryable
    assert NAME not in failure.value.reason
    return failure.value.reason


def attempt(read_one: Callable[[], Recording]) -> Recording | ImageError:
    """Return what was read, or why it could not be; any other exception is a failure."""
    try:
        recording = read_one()
    except ImageError as failure:
        return _named(failure)
    assert recording.leads_uv.shape[0] == 12
    assert 2500 <= recording.leads_uv.shape[1] <= 5001
    assert np.isfinite(recording.leads_uv).all()
    return recording


def _named(failure: ImageError) -> ImageError:
    assert failure.reason
    assert NAME not in failure.reason
    return failure


def test_one_lead_is_no_ecg() -> None:
    ds = waveform_object(group(samples_uv(500.0)[1:2], 500.0, ["II"]))
    assert fault(ds) == (
        "12 leads are needed, 11 are missing: I, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6"
    )


def test_missing_chest_leads_are_named() -> None:
    there = [lead for lead in LEADS if lead not in ("V3", "V6")]
    samples = samples_uv(500.0)[[LEADS.index(lead) for lead in there]]
    ds = waveform_object(group(samples, 500.0, there))
    assert fault(ds) == "12 leads are needed, 2 are missing: V3, V6"


def test_limb_leads_alone_are_no_ecg() -> None:
    ds = waveform_object(group(samples_uv(500.0)[:6], 500.0, LEADS[:6]))
    assert fault(ds) == "12 leads are needed, 6 are missing: V1, V2, V3, V4, V5, V6"


def test_leads_at_different_rates_are_not_joined() -> None:
    limbs = group(samples_uv(500.0)[:6], 500.0, LEADS[:6])
    chest = group(samples_uv(250.0)[6:], 250.0, LEADS[6:])
    assert fault(waveform_object(limbs, chest)) == (
        "the leads are spread over groups of different rates"
    )


@pytest.mark.parametrize("offsets_ms", [("0", "10000"), (None, "2.1"), ("7000", None)])
def test_leads_that_were_recorded_one_after_the_other_are_not_joined(
    offsets_ms: tuple[str | None, ...],
) -> None:
    groups = [
        group(samples_uv(500.0)[part], 500.0, LEADS[part]) for part in (slice(6), slice(6, 12))
    ]
    for item, offset_ms in zip(groups, offsets_ms, strict=True):
        if offset_ms is not None:
            item.MultiplexGroupTimeOffset = offset_ms
    assert fault(waveform_object(*groups)) == "the leads were recorded one after the other"


def test_fewer_than_five_seconds_are_no_page() -> None:
    beat = group(samples_uv(500.0, 1.2), 500.0, label="MEDIAN BEAT")
    assert fault(waveform_object(group(samples_uv(500.0, 4.99), 500.0), beat)) == (
        "the longest recording has 4.99 seconds, 5 were expected"
    )


def test_a_median_beat_alone_is_no_recording() -> None:
    ds = twelve_lead(samples_uv(500.0, 1.2), label="MEDIAN BEAT")
    assert fault(ds) == "the longest recording has 1.2 seconds, 5 were expected"


def test_no_samples_are_no_recording() -> None:
    assert fault(twelve_lead(np.zeros((12, 0)))) == "the waveform has no samples"


@pytest.mark.parametrize("rate_hz", ["1000000", "20001", "99", "0", "-500", "1e300"])
def test_a_rate_no_ecg_has_is_a_fault(rate_hz: str) -> None:
    ds = twelve_lead()
    ds.WaveformSequence[0].SamplingFrequency = rate_hz
    assert "100 to 20000 Hz were expected" in fault(ds)


def test_all_flat_is_no_ecg() -> None:
    assert fault(twelve_lead(np.full((12, 5000), 7))) == "all leads are flat"


def test_a_scale_that_makes_impossible_amplitudes_is_a_fault() -> None:
    assert "amplitudes that no ECG has" in fault(twelve_lead(unit="mV"))


@pytest.mark.parametrize(
    ("sensitivity", "unit"),
    [(None, None), (None, "uV"), ("1", None), ("0", "uV"), ("1", "mm[Hg]"), ("1", "1"), ("1", "")],
)
def test_a_scale_is_never_guessed(sensitivity: str | None, unit: str | None) -> None:
    assert fault(twelve_lead(sensitivity=sensitivity, unit=unit)) == "lead I has no scale in volts"


def test_leads_that_go_off_and_leave_no_five_seconds_are_no_page() -> None:
    stored = samples_uv(500.0)
    stored[4, 2400:2600] = -32768
    ds = twelve_lead(stored, padding=-32768)
    assert fault(ds) == "all leads are there for less than 5 seconds at a time"


def test_codes_and_names_that_contradict_each_other_are_a_fault() -> None:
    def misnamed(lead: str) -> Dataset:
        return code("5.6.3-9-3", "SCPECG", "Lead III") if lead == "III" else scpecg(lead)

    assert "contradict" in fault(twelve_lead(name=misnamed))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NumberOfWaveformSamples": 5001}, "120024 bytes of samples are declared"),
        ({"NumberOfWaveformSamples": 0xFFFFFFFF}, "bytes of samples are declared"),
        ({"NumberOfWaveformSamples": None}, "NumberOfWaveformSamples is absent"),
        ({"NumberOfWaveformChannels": 65535}, "65535 channels are declared and 12 defined"),
        ({"NumberOfWaveformChannels": 0}, "0 channels are declared and 12 defined"),
        ({"NumberOfWaveformChannels": None}, "NumberOfWaveformChannels is absent"),
        ({"SamplingFrequency": None}, "the sampling frequency is no number"),
        ({"ChannelDefinitionSequence": []}, "12 channels are declared and 0 defined"),
        ({"WaveformBitsAllocated": 64}, "not supported"),
        ({"WaveformBitsAllocated": None}, "WaveformBitsAllocated is absent"),
        ({"WaveformSampleInterpretation": "MB"}, "not supported"),
        ({"WaveformSampleInterpretation": None}, "not supported"),
        ({"WaveformData": b""}, "there are 0"),
        ({"WaveformData": None}, "there are 0"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_is_a_fault(changes: dict[str, Any], reason: str) -> None:
    ds = twelve_lead()
    for keyword, value in changes.items():
        setattr(ds.WaveformSequence[0], keyword, value)
    assert reason in fault(ds)


def test_what_is_declared_and_not_there_costs_nothing() -> None:
    ds = twelve_lead()
    ds.WaveformSequence[0].NumberOfWaveformSamples = 0xFFFFFFF0
    tracemalloc.start()
    try:
        fault(ds)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_megabyte_of_the_fastest_rate_is_read_in_bounded_memory_and_time(tmp_path: Path) -> None:
    rate_hz = 20_000.0
    stored = np.tile(samples_uv(rate_hz), (1, 2))
    # Every other sample is missing: the worst case for looking for gaps.
    stored[:, ::2] = -32768
    path = waveforms.save(twelve_lead(stored, rate_hz, padding=-32768), tmp_path / "fast.dcm")
    began = time.process_time()
    tracemalloc.start()
    try:
        assert isinstance(attempt(lambda: read(path)), Recording)
        assert tracemalloc.get_traced_memory()[1] < 250_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 30


def test_hours_of_samples_are_a_fault(tmp_path: Path) -> None:
    stored = np.zeros((12, MAX_HEADER_BYTES // 24 + 1), np.int16)
    path = waveforms.save(twelve_lead(stored), tmp_path / "long.dcm")
    with pytest.raises(ImageError, match="longer than any we read"):
        read(path)


def test_an_object_without_a_waveform_is_a_fault() -> None:
    assert fault(waveform_object()) == "the object has no waveform"


def test_a_waveform_has_no_pixels_but_a_header(tmp_path: Path) -> None:
    path = waveforms.save(twelve_lead(), tmp_path / "ecg.dcm")
    with pytest.raises(ImageError, match="no pixel data"):
        StoredImage(path)
    header = read_header(path)
    assert header.PatientName == NAME
    assert "WaveformSequence" not in header


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.integers(0, 0xFFFF),
    st.text("0123456789.-eEuVmSBL\0 ", max_size=6),
    st.binary(max_size=40),
    st.just([]),
)
GROUP_KEYWORDS = (
    "WaveformOriginality", "NumberOfWaveformChannels", "NumberOfWaveformSamples",
    "SamplingFrequency", "MultiplexGroupLabel", "ChannelDefinitionSequence",
    "WaveformBitsAllocated", "WaveformSampleInterpretation", "WaveformPaddingValue",
    "WaveformData",
)  # fmt: skip
CHANNEL_KEYWORDS = (
    "ChannelSourceSequence", "ChannelSensitivity", "ChannelSensitivityUnitsSequence",
    "ChannelSensitivityCorrectionFactor", "ChannelBaseline", "WaveformBitsStored", "ChannelLabel",
)  # fmt: skip
# The Value Representations that fit none of these keywords best, and those that do.
VRS = st.sampled_from(["LO", "US", "UL", "OB", "OW", "UN", "DS", "UT"])


@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(GROUP_KEYWORDS + CHANNEL_KEYWORDS), st.integers(0, 11), VRS, VALUES
        ),
        min_size=1,
        max_size=4,
    ),
    syntax=st.sampled_from(sorted(TRANSFER_SYNTAXES)),
)
@settings(max_examples=100, deadline=None)
def test_any_element_with_any_value_gives_a_recording_or_a_fault(
    changes: list[tuple[str, int, str, Any]], syntax: str
) -> None:
    ds = twelve_lead(samples_uv(250.0, 5.2), 250.0)
    (item,) = ds.WaveformSequence
    channels = item.ChannelDefinitionSequence
    for keyword, place, vr, value in changes:
        target = item if keyword in GROUP_KEYWORDS else channels[place]
        try:
            target.add_new(keyword, vr, value)
        except Exception:  # noqa: BLE001 (pydicom itself will not make it, so nobody can send it)
            continue
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    attempt(lambda: recording_of(ds))


@pytest.fixture(scope="module")
def encoded() -> bytes:
    """Return the bytes of a small waveform object with annotations."""
    from io import BytesIO

    ds = twelve_lead(samples_uv(250.0, 5.2), 250.0, padding=-32768)
    item = Dataset()
    item.ConceptNameCodeSequence = [code("2:16156", "MDC", "QRS duration")]
    item.MeasurementUnitsCodeSequence = [code("ms", "UCUM", "ms")]
    item.NumericValue = "94"
    ds.WaveformAnnotationSequence = [item]
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@given(
    mutations=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8
    ),
    kept=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.3]),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_bytes_give_a_recording_or_a_fault(
    encoded: bytes, tmp_path: Path, mutations: list[tuple[float, int]], kept: float
) -> None:
    damaged = bytearray(encoded)
    # The header is hit: damaged samples are samples.
    reach = len(encoded) - 12 * 1300 * 2
    for place, byte in mutations:
        damaged[int(place * reach)] = byte
    path = tmp_path / "damaged.dcm"
    path.write_bytes(damaged[: int(len(damaged) * kept)])
    attempt(lambda: read(path))


@given(content=st.binary(max_size=300), has_preamble=st.booleans())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_fault(tmp_path: Path, content: bytes, has_preamble: bool) -> None:
    path = tmp_path / "any.dcm"
    path.write_bytes((bytes(128) + b"DICM" if has_preamble else b"") + content)
    assert isinstance(attempt(lambda: read(path)), ImageError)
