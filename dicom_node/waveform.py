"""A stored ECG waveform -> the ten seconds of twelve leads that fit on a page.

PS3.3 section C.10.9 (Waveform Module), PS3.16 CID 3001. Any object with a Waveform Sequence is
read, whatever its SOP Class: ECGs have been seen in the Hemodynamic class. The recording is the
first multiplex group that holds the twelve leads for five seconds, or groups of one rate and one
time that hold them together; a median beat is none.

A scale is never guessed: a channel that says no sensitivity, or none in volts, is a named fault,
for an ECG drawn at an invented gain would be an invented finding.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.contexts import EXPLICIT_BE
from dicom_node.errors import ImageError
from dicom_node.leads import LEADS, Signal, complete, missing_of
from dicom_node.measurements import statements_of
from dicom_node.multiplex import MultiplexGroup
from dicom_node.part10 import StoredObject, faults_named
from dicom_node.resampling import resample

RATE_HZ: Final = 500.0
PAGE_S: Final = 10.0
MIN_S: Final = 5.0

#: No more of a long recording is looked at in search of a page without gaps.
_LOOKED_AT_S: Final = 60.0
_LOOKED_AT_SAMPLES: Final = 300_000
_MAX_GROUPS: Final = 16
_FLAT_UV: Final = 20.0
_LARGEST_UV: Final = 30_000.0


@dataclass(frozen=True, eq=False)
class Recording:
    """Twelve leads, as a page shows them.

    Attributes
    ----------
    leads_uv : float32 (12, n)
        Microvolts, leads I II III aVR aVL aVF V1..V6; five to ten seconds.
    rate_hz : float
        Samples a second: ``RATE_HZ``.
    statements : tuple of str
        The recorder's own numbers, and what was done to the recording, as sentences.
    """

    leads_uv: npt.NDArray[np.float32]
    rate_hz: float
    statements: tuple[str, ...]


def read(path: Path) -> Recording:
    """Read the ECG of a waveform object.

    Raises
    ------
    ImageError
        When it holds no twelve leads of five seconds with a scale, or is damaged.
    """
    with StoredObject(path) as stored, faults_named():
        return recording_of(stored.header)


def recording_of(ds: Dataset) -> Recording:
    """Read the ECG of a data set in memory, which has its File Meta Information.

    Raises
    ------
    ImageError
        As :func:`read`.
    """
    with faults_named():
        is_big_endian = str(ds.file_meta.TransferSyntaxUID) == EXPLICIT_BE
        groups = _rhythm_groups(ds)
        length = min(group.samples for group in groups)
        leads: dict[str, Signal] = {}
        looked_at = min(length, round(_LOOKED_AT_S * groups[0].rate_hz), _LOOKED_AT_SAMPLES)
        is_there = np.ones(looked_at, bool)
        for group in groups:
            for lead, (signal, valid) in group.read(len(is_there), is_big_endian).items():
                if lead not in leads:
                    leads[lead] = signal
                    is_there &= valid
        all_leads, computed = complete(leads)
        rate = groups[0].rate_hz
        first, count = _longest_run(is_there)
        count = min(count, round(PAGE_S * rate))
        if count < MIN_S * rate:
            raise ImageError(f"all leads are there for less than {MIN_S:g} seconds at a time")
        signals = np.stack([all_leads[lead][first : first + count] for lead in LEADS])
        flat = _check_amplitudes(signals)
        return Recording(
            leads_uv=resample(signals, rate, RATE_HZ).astype(np.float32),
            rate_hz=RATE_HZ,
            statements=(
                *statements_of(ds),
                *_remarks(computed, flat, first / rate, count / rate, length / rate),
            ),
        )


def _rhythm_groups(ds: Dataset) -> list[MultiplexGroup]:
    """Return the multiplex groups that hold the twelve leads together: one where one does."""
    items = ds.get("WaveformSequence") or []
    if not items:
        raise ImageError("the object has no waveform")
    fault: ImageError | None = None
    groups: list[MultiplexGroup] = []
    for item in items[:_MAX_GROUPS]:
        try:
            groups.append(MultiplexGroup.of(item))
        except ImageError as found:
            fault = fault or found
    rhythms = [one for one in groups if not one.is_averaged and one.seconds >= MIN_S]
    for group in rhythms:
        if not missing_of(set(group.columns)):
            return [group]
    are_apart = False
    for first in rhythms:
        alike = [group for group in rhythms if group.rate_hz == first.rate_hz]
        together = [group for group in alike if group.is_simultaneous_with(first)]
        if not missing_of({lead for group in together for lead in group.columns}):
            return together
        are_apart |= not missing_of({lead for group in alike for lead in group.columns})
    if are_apart:
        # A limb lead computed of two others would be of no beat at all.
        raise ImageError("the leads were recorded one after the other")
    if fault is not None:
        raise fault
    if not rhythms:
        longest = max(group.seconds for group in groups)
        raise ImageError(
            f"the longest recording has {longest:.3g} seconds, {MIN_S:g} were expected"
        )
    complete({lead: np.zeros(1) for group in rhythms for lead in group.columns})
    raise ImageError("the leads are spread over groups of different rates")


def _longest_run(is_there: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return first index and length of the longest run of ones; the first among equals."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_there.astype(np.int8), [0]))))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(np.argmax(lengths))
    return int(edges[2 * longest]), int(lengths[longest])


def _check_amplitudes(signals: Signal) -> tuple[str, ...]:
    """Return the flat leads; refuse what no heart and no electrode gives."""
    spans = np.ptp(signals, axis=1)
    flat = tuple(lead for lead, span in zip(LEADS, spans, strict=True) if span < _FLAT_UV)
    if len(flat) == len(LEADS):
        raise ImageError("all leads are flat")
    low, high = np.percentile(signals, (1, 99), axis=1)
    usual = float(np.median(high - low))
    if not math.isfinite(usual) or usual > _LARGEST_UV:
        raise ImageError("the scale makes amplitudes that no ECG has")
    return flat


def _remarks(
    computed: tuple[str, ...], flat: tuple[str, ...], start_s: float, page_s: float, whole_s: float
) -> list[str]:
    remarks = []
    if computed:
        remarks.append(f"Computed from the other limb leads: {', '.join(computed)}")
    if flat:
        remarks.append(f"Flat: {', '.join(flat)}")
    if whole_s > page_s + 0.5 or page_s < PAGE_S - 0.1:
        remarks.append(
            f"Read: {page_s:.3g} s from second {start_s:.3g} of a recording of {whole_s:.4g} s"
        )
    return remarks
