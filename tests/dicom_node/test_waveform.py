"""A stored waveform of any make becomes twelve leads in microvolts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import waveforms
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import require
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from waveforms import code, group, mdc, samples_uv, scpecg, twelve_lead, waveform_object

from dicom_node.leads import LEADS
from dicom_node.resampling import resample
from dicom_node.waveform import Recording, read, recording_of

#: Without the first and last tenth of a second, where resampling has nothing beyond the end.
INSIDE = slice(50, -50)


def error_uv(recording: Recording, expected: npt.NDArray[Any]) -> float:
    """Return the largest difference from the expected leads, away from the ends."""
    assert recording.rate_hz == 500
    assert recording.leads_uv.dtype == np.float32
    assert recording.leads_uv.shape == expected.shape
    return float(np.abs(recording.leads_uv - expected)[:, INSIDE].max())


def test_a_real_recorder_s_object_is_read_as_pydicom_reads_it() -> None:
    recording = read(waveforms.recorded())
    expected = dcmread(waveforms.recorded()).waveform_array(0).T
    assert recording.leads_uv.shape == (12, 5000)
    # The recorder's 1000 Hz hold more than 500 Hz can: only the rest is compared.
    difference = recording.leads_uv - resample(expected, 1000.0, 500.0)
    assert np.abs(difference).max() < 0.01
    assert np.abs(recording.leads_uv - expected[:, ::2]).max() < 40
    assert recording.statements == (
        "RR interval 982 ms",
        "PR interval 161 ms",
        "QRS duration 75 ms",
        "QT interval 368 ms",
        "QTc interval 370 ms",
        "P axis 74 degrees",
        "QRS axis 52 degrees",
        "T axis 57 degrees",
    )


@pytest.mark.parametrize("rate_hz", [240.0, 250.0, 257.0, 500.0, 999.5, 1000.0, 2000.0, 8000.0])
def test_a_recording_of_any_rate_is_the_same_curve(rate_hz: float) -> None:
    recording = recording_of(twelve_lead(rate_hz=rate_hz))
    assert error_uv(recording, samples_uv(500.0)) < 2
    assert recording.statements == ()


@pytest.mark.parametrize("rate_hz", [1000.0, 1024.0, 4000.0])
@pytest.mark.parametrize("hum_hz", [251.0, 300.0, 450.0])
def test_what_five_hundred_hertz_cannot_hold_is_gone(rate_hz: float, hum_hz: float) -> None:
    time = np.arange(round(rate_hz * 10)) / rate_hz
    hum = np.sin(2 * np.pi * hum_hz * time)[None]
    assert np.abs(resample(hum, rate_hz, 500.0))[:, INSIDE].max() < 0.001


@pytest.mark.parametrize("hertz", [0.5, 17.0, 99.0, 150.0])
def test_what_it_can_hold_stays(hertz: float) -> None:
    fast = np.sin(2 * np.pi * hertz * np.arange(10_000) / 1000)[None]
    slow = np.sin(2 * np.pi * hertz * np.arange(5000) / 500)[None]
    assert np.abs(resample(fast, 1000.0, 500.0) - slow)[:, INSIDE].max() < 0.001


def test_a_signal_stays_level_to_its_ends_when_resampled() -> None:
    assert np.allclose(resample(np.full((1, 240), 7.0), 240.0, 500.0), 7.0)
    assert resample(np.zeros((3, 241)), 240.0, 500.0).shape == (3, 502)


@pytest.mark.parametrize(
    ("kind", "step_uv", "zero"),
    [
        ("SB", 10.0, 0),
        ("UB", 10.0, 128),
        ("SS", 2.5, 0),
        ("US", 1.25, 32768),
        ("SL", 0.01, 0),
        ("UL", 0.01, 1 << 31),
    ],
)
def test_every_size_and_sign_of_sample_is_read(kind: str, step_uv: float, zero: int) -> None:
    stored = samples_uv(500.0) / step_uv + zero
    ds = twelve_lead(stored, kind=kind, sensitivity=str(step_uv), baseline=str(-zero * step_uv))
    assert error_uv(recording_of(ds), samples_uv(500.0)) <= step_uv / 2 + 0.01


@pytest.mark.parametrize(
    ("unit", "sensitivity", "correction", "baseline"),
    [
        ("uV", "2.5", "1", "0"),
        ("uV\0", "1", "2.5", "0"),
        ("mV", "0.0025", "1", "0"),
        ("mV", "0.0025", "1", "3"),
        ("V", "0.0000025", "1", "0"),
        ("nV", "2500", "1", "0"),
        ("µV", "2.5", "1", "-100"),
        ("microvolts", "5", "0.5", "0"),
        ("2.5 uV", "1", "1", "0"),
        ("uV", "2.5", "0", "0"),
    ],
)
def test_every_way_to_say_the_scale_gives_the_same_microvolts(
    unit: str, sensitivity: str, correction: str, baseline: str
) -> None:
    ds = twelve_lead(
        samples_uv(500.0) / 2.5,
        unit=unit,
        sensitivity=sensitivity,
        correction=correction,
        baseline=baseline,
    )
    offset_uv = float(baseline) * (1000 if unit == "mV" else 1)
    assert error_uv(recording_of(ds), samples_uv(500.0) + offset_uv) <= 1.3


def test_twelve_bits_without_their_sign_get_it_back() -> None:
    stored = np.rint(samples_uv(500.0)).astype(int) & 0x0FFF
    ds = twelve_lead(stored, bits_stored=12)
    assert error_uv(recording_of(ds), samples_uv(500.0)) < 1


@pytest.mark.parametrize(
    "name",
    [
        scpecg,
        mdc,
        lambda lead: code(f"5.6.3-9-{waveforms.NUMBERS[lead]}\0", "SCPECG\0", ""),
        lambda lead: code(str(131072 + waveforms.NUMBERS[lead]), "MDC", ""),
        lambda lead: code(f"MDC_ECG_LEAD_{lead.upper()}", "MDC", ""),
        lambda lead: code(lead, "LOINC", f"Lead {lead}"),
        lambda lead: code("", "", f"Lead {lead} (Einthoven)"),
        lambda lead: code("1", "99LOCAL", lead.upper()),
        lambda lead: code("1", "99LOCAL", f" {lead}\0"),
        lambda lead: code("1", "99LOCAL", lead.replace("V", "C") if lead[0] == "V" else lead),
        lambda lead: code("2:0", "MDC", f"{lead}, augmented voltage"),
    ],
    ids=[
        "SCPECG", "MDC", "null padded", "one number", "reference identifier", "LOINC", "text",
        "capitals", "spaces", "C1 to C6", "unspecified",
    ],
)  # fmt: skip
def test_every_way_to_name_the_leads_is_understood(name: waveforms.Namer) -> None:
    # Chest leads first: the order of the channels is not the order of the leads.
    order = (*LEADS[6:], *LEADS[:6])
    samples = samples_uv(500.0)[[LEADS.index(lead) for lead in order]]
    recording = recording_of(waveform_object(group(samples, 500.0, order, name=name)))
    assert error_uv(recording, samples_uv(500.0)) < 1
    assert recording.statements == ()


def test_leads_that_only_the_label_names_are_understood() -> None:
    ds = twelve_lead()
    for lead, item in zip(LEADS, ds.WaveformSequence[0].ChannelDefinitionSequence, strict=True):
        del item.ChannelSourceSequence
        item.ChannelLabel = f"ECG {lead}"
    assert error_uv(recording_of(ds), samples_uv(500.0)) < 1


@pytest.mark.parametrize(
    "recorded",
    [
        ("I", "II", *LEADS[6:]),
        ("II", "III", *LEADS[6:]),
        ("I", "III", *LEADS[6:]),
        ("I", "II", "III", "aVR", *LEADS[6:]),
    ],
)
def test_limb_leads_that_are_missing_are_computed_and_named(recorded: tuple[str, ...]) -> None:
    samples = samples_uv(500.0)[[LEADS.index(lead) for lead in recorded]]
    recording = recording_of(waveform_object(group(samples, 500.0, recorded)))
    assert error_uv(recording, samples_uv(500.0)) < 2
    computed = ", ".join(lead for lead in LEADS if lead not in recorded)
    assert recording.statements == (f"Computed from the other limb leads: {computed}",)


@pytest.mark.parametrize("name", ["aVR (-)", "-aVR", "aVR (inverted)"])
def test_a_lead_that_is_upside_down_is_computed_instead(name: str) -> None:
    samples = samples_uv(500.0)
    samples[3] *= -1
    ds = twelve_lead(samples, name=lambda lead: code("", "", name if lead == "aVR" else lead))
    recording = recording_of(ds)
    assert error_uv(recording, samples_uv(500.0)) < 2
    assert recording.statements == ("Computed from the other limb leads: aVR",)


def test_other_channels_beside_the_twelve_are_left_out() -> None:
    names = (*LEADS, "V3R", "V7", "Pressure", "II")
    samples = np.concatenate([samples_uv(500.0), np.full((4, 5000), 3000.0)])
    ds = waveform_object(group(samples, 500.0, names, name=lambda lead: code("", "", lead)))
    assert error_uv(recording_of(ds), samples_uv(500.0)) < 1


def test_a_median_beat_is_not_the_recording() -> None:
    rhythm, beat = group(samples_uv(500.0), 500.0), group(samples_uv(500.0, 1.2), 500.0)
    average = group(samples_uv(500.0) * 0.5, 500.0, label="MEDIAN BEAT")
    for groups in ((beat, rhythm), (rhythm, beat), (average, rhythm), (beat, average, rhythm)):
        recording = recording_of(waveform_object(*groups))
        assert error_uv(recording, samples_uv(500.0)) < 1


def test_the_first_of_several_recordings_is_read() -> None:
    ds = waveform_object(group(samples_uv(500.0), 500.0), group(samples_uv(500.0) * 2, 500.0))
    assert error_uv(recording_of(ds), samples_uv(500.0)) < 1


def test_leads_spread_over_groups_of_one_rate_are_joined() -> None:
    samples = samples_uv(500.0)
    limbs = group(samples[:6], 500.0, LEADS[:6])
    chest = group(samples[6:], 500.0, LEADS[6:])
    three = [group(samples[n : n + 3], 500.0, LEADS[n : n + 3]) for n in (0, 3, 6, 9)]
    for groups in ((limbs, chest), (chest, limbs), three):
        assert error_uv(recording_of(waveform_object(*groups)), samples) < 1


def test_groups_that_begin_together_are_joined_whenever_that_was() -> None:
    samples = samples_uv(500.0)
    groups = [group(samples[part], 500.0, LEADS[part]) for part in (slice(6), slice(6, 12))]
    for before, after in (("0", "2"), ("5000", "4999")):
        groups[0].MultiplexGroupTimeOffset, groups[1].MultiplexGroupTimeOffset = before, after
        assert error_uv(recording_of(waveform_object(*groups)), samples) < 1
    # Limb leads of an earlier moment before those of the chest leads' own.
    earlier = group(samples[:6] * 2, 500.0, LEADS[:6])
    earlier.MultiplexGroupTimeOffset = "0"
    assert error_uv(recording_of(waveform_object(earlier, *groups)), samples) < 1


def test_a_long_recording_gives_its_first_page_and_says_so() -> None:
    recording = recording_of(twelve_lead(samples_uv(250.0, 60.0), 250.0))
    assert error_uv(recording, samples_uv(500.0)) < 2
    assert recording.statements == ("Read: 10 s from second 0 of a recording of 60 s",)


def test_a_short_recording_keeps_its_length_and_says_so() -> None:
    recording = recording_of(twelve_lead(samples_uv(500.0, 5.0)))
    assert recording.leads_uv.shape == (12, 2500)
    assert recording.statements == ("Read: 5 s from second 0 of a recording of 5 s",)


@pytest.mark.parametrize(("kind", "padding"), [("SS", -32768), ("SL", -(1 << 31)), ("SB", -128)])
def test_samples_that_are_padding_are_not_drawn(kind: str, padding: int) -> None:
    step_uv = 10.0 if kind == "SB" else 1.0
    stored = np.rint(samples_uv(500.0, 12.0) / step_uv)
    # A lead that came on late, one that went off, and a gap of a few samples.
    stored[7, :600] = padding
    stored[2, 5900:] = padding
    stored[5, 2000:2003] = padding
    ds = twelve_lead(stored, kind=kind, padding=padding, sensitivity=str(step_uv))
    recording = recording_of(ds)
    expected = samples_uv(500.0, 12.0)[:, 600:5600]
    straight = np.s_[5, 1400:1403]
    assert abs(recording.leads_uv[straight] - expected[straight]).max() < 60
    expected[straight] = recording.leads_uv[straight]
    assert error_uv(recording, expected) <= step_uv / 2 + 0.01
    assert recording.statements == ("Read: 10 s from second 1.2 of a recording of 12 s",)


def test_a_flat_lead_is_drawn_as_it_is_and_named() -> None:
    samples = samples_uv(500.0)
    samples[8] = 3
    assert recording_of(twelve_lead(samples)).statements == ("Flat: V3",)


@pytest.mark.parametrize("option", ["+ti", "+tb", "+td"], ids=["implicit", "big", "deflated"])
@pytest.mark.parametrize("kind", ["SS", "SB", "SL"])
def test_dcmtk_s_rewriting_in_another_syntax_changes_nothing(
    tmp_path: Path, kind: str, option: str
) -> None:
    step_uv = 10.0 if kind == "SB" else 1.0
    ds = twelve_lead(samples_uv(500.0) / step_uv, kind=kind, sensitivity=str(step_uv), padding=-100)
    plain = waveforms.save(ds, tmp_path / "plain.dcm")
    other = tmp_path / "other.dcm"
    subprocess.run([require("dcmconv"), option, plain, other], check=True, timeout=60)
    assert np.array_equal(read(other).leads_uv, read(plain).leads_uv)


def test_single_bytes_in_big_endian_words_are_put_back_in_order() -> None:
    ds = twelve_lead(samples_uv(500.0) / 10, kind="SB", sensitivity="10")
    expected = recording_of(ds).leads_uv
    item = ds.WaveformSequence[0]
    pairs = np.frombuffer(item.WaveformData, np.uint8).reshape(-1, 2)
    item.add_new("WaveformData", "OW", pairs[:, ::-1].tobytes())
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert np.array_equal(recording_of(ds).leads_uv, expected)


def test_an_object_that_dcmtk_wrote_from_text_is_read(tmp_path: Path) -> None:
    ds = twelve_lead(samples_uv(250.0), 250.0)
    plain = waveforms.save(ds, tmp_path / "plain.dcm")
    text, made = tmp_path / "dump.txt", tmp_path / "made.dcm"
    dump = subprocess.run(
        [require("dcmdump"), "+L", "-q", plain], capture_output=True, check=True, timeout=60
    )
    text.write_bytes(dump.stdout)
    subprocess.run([require("dump2dcm"), "+l", "4000000", text, made], check=True, timeout=60)
    assert np.array_equal(read(made).leads_uv, read(plain).leads_uv)


def test_an_ecg_is_read_whatever_class_it_says_it_is(tmp_path: Path) -> None:
    for uid in (waveforms.GENERAL_ECG, waveforms.HEMODYNAMIC):
        ds = waveform_object(group(samples_uv(500.0), 500.0), sop_class_uid=uid, Modality="HD")
        path = waveforms.save(ds, tmp_path / "ecg.dcm")
        assert error_uv(read(path), samples_uv(500.0)) < 1


def annotation(concept: Dataset, value: str, unit: Dataset | None, channels: Any = None) -> Dataset:
    item = Dataset()
    item.ConceptNameCodeSequence = [concept]
    item.NumericValue = value
    if unit is not None:
        item.MeasurementUnitsCodeSequence = [unit]
    item.ReferencedWaveformChannels = channels or [1, 0]
    return item


def text(value: str) -> Dataset:
    item = Dataset()
    item.UnformattedTextValue = value
    item.ReferencedWaveformChannels = [1, 0]
    return item


MS, BPM, DEGREES = (
    code("ms", "UCUM", "milliseconds"),
    code("{H.B.}/min", "UCUM", "heart beats per minute"),
    code("deg", "UCUM", "degrees"),
)


@pytest.mark.parametrize(
    ("items", "statements"),
    [
        ([annotation(code("2:16016", "MDC", "x"), "72", BPM)], ["Ventricular rate 72 /min"]),
        ([annotation(code("5.10.2.5-1", "SCPECG", ""), "72", BPM)], ["Ventricular rate 72 /min"]),
        ([annotation(code("8867-4", "LN", "Heart rate"), "72", BPM)], ["Heart rate 72 /min"]),
        ([annotation(code("2:16156\0", "MDC\0", ""), "94.5", MS)], ["QRS duration 94.5 ms"]),
        ([annotation(code("", "", "QRS Duration"), "94", MS)], ["QRS duration 94 ms"]),
        ([annotation(code("2:15880", "MDC", ""), "401", MS)], ["QTc interval (Bazett) 401 ms"]),
        (
            [annotation(code("2:15872", "MDC", ""), "0.16", code("s", "UCUM", "seconds"))],
            ["PR interval 160 ms"],
        ),
        ([annotation(code("2:16132", "MDC", ""), "-45", DEGREES)], ["QRS axis -45 degrees"]),
        ([text("QRS duration: 94 ms\r\nSinus rhythm")], ["QRS duration 94 ms"]),
        ([text("Vent. rate 72 bpm")], ["Ventricular rate 72 /min"]),
        # The order is fixed, and the first of a kind counts.
        (
            [
                annotation(code("2:16160", "MDC", ""), "380", MS),
                annotation(code("2:16016", "MDC", ""), "72", BPM),
                annotation(code("2:16160", "MDC", ""), "999", MS),
            ],
            ["Ventricular rate 72 /min", "QT interval 380 ms"],
        ),
        # No unit, another unit, not computed, of one lead, impossible, no number.
        ([annotation(code("2:16156", "MDC", ""), "94", None)], []),
        ([annotation(code("2:16156", "MDC", ""), "94", BPM)], []),
        ([annotation(code("2:16156", "MDC", ""), "0", MS)], []),
        ([annotation(code("2:16156", "MDC", ""), "29999", MS)], []),
        ([annotation(code("2:16156", "MDC", ""), "94", MS, [1, 3])], []),
        # A machine's opinion is not passed on.
        ([text("ATRIAL FIBRILLATION"), text("Sinus rhythm, rate 72 bpm normal"), text("72")], []),
        ([annotation(code("2:15", "MDC", "Probability of infarction"), "94", MS)], []),
    ],
)  # fmt: skip
def test_the_recorder_s_numbers_become_sentences(
    items: list[Dataset], statements: list[str]
) -> None:
    ds = twelve_lead()
    ds.WaveformAnnotationSequence = items
    assert list(recording_of(ds).statements) == statements


def test_implicit_vr_keeps_sequences_and_samples(tmp_path: Path) -> None:
    ds = twelve_lead(padding=-32768)
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = waveforms.save(ds, tmp_path / "implicit.dcm")
    assert error_uv(read(path), samples_uv(500.0)) < 1


@given(
    rate_hz=st.floats(200, 2100).map(lambda rate: round(rate, 3)),
    seconds=st.floats(5.01, 11),
    step_uv=st.sampled_from([0.5, 1.25, 2.44, 4.88]),
)
@settings(max_examples=12, deadline=None)
def test_rate_length_and_scale_never_bend_the_curve(
    rate_hz: float, seconds: float, step_uv: float
) -> None:
    stored = samples_uv(rate_hz, seconds) / step_uv
    recording = recording_of(twelve_lead(stored, rate_hz, sensitivity=str(step_uv)))
    expected = samples_uv(500.0, 10.1)[:, : recording.leads_uv.shape[1]]
    assert abs(recording.leads_uv.shape[1] / 500 - min(seconds, 10)) < 0.01
    assert np.abs(recording.leads_uv - expected)[:, INSIDE].max() < 1 + step_uv
