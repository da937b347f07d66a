"""One multiplex group of a waveform: its samples in microvolts, lead by lead.

PS3.3 section C.10.9.1. Channels of a group are sampled together and stored in turn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.errors import ImageError
from dicom_node.leads import Signal, lead_of
from dicom_node.values import first_number

MIN_RATE_HZ: Final = 100.0
MAX_RATE_HZ: Final = 20_000.0

_MAX_CHANNELS: Final = 64
#: Missing samples of no more than this are bridged; longer ones are missing.
_BRIDGED_S: Final = 0.02
_SAMPLES: Final[dict[tuple[int, str], str]] = {
    (8, "SB"): "i1",
    (8, "UB"): "u1",
    (16, "SS"): "i2",
    (16, "US"): "u2",
    (32, "SL"): "i4",
    (32, "UL"): "u4",
}
_VOLTS_UV: Final[dict[str, float]] = {"n": 1e-3, "u": 1.0, "m": 1e3, "": 1e6}
_UNIT: Final = re.compile(r"(\d+(?:\.\d+)?)? ?([nuµμm]?)V")
_UNIT_NAMES: Final = {"nanovolt": "nV", "microvolt": "uV", "millivolt": "mV", "volt": "V"}


@dataclass(frozen=True)
class MultiplexGroup:
    """A multiplex group of known rate and length, and where the leads are in it.

    Attributes
    ----------
    item : Dataset
        The item of the Waveform Sequence.
    rate_hz : float
        Samples a second.
    samples : int
        Samples of each channel, at least 1.
    channels : sequence of Dataset
        The items of the Channel Definition Sequence, one a channel.
    columns : dict of lead to int
        Which channel holds a lead; the first where several do.
    """

    item: Dataset
    rate_hz: float
    samples: int
    channels: Sequence[Dataset]
    columns: dict[str, int]

    @classmethod
    def of(cls, item: Dataset) -> Self:
        """Read what an item of the Waveform Sequence says of itself.

        Raises
        ------
        ImageError
            When it cannot be the ECG of a heart or contradicts itself.
        """
        rate = first_number(item.get("SamplingFrequency"))
        samples = _count(item, "NumberOfWaveformSamples")
        channels = item.get("ChannelDefinitionSequence") or []
        declared = _count(item, "NumberOfWaveformChannels")
        if rate is None or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
            said = "no number" if rate is None else f"{rate:g} Hz"
            raise ImageError(
                f"the sampling frequency is {said}; "
                f"{MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} Hz were expected"
            )
        if samples < 1:
            raise ImageError("the waveform has no samples")
        if declared != len(channels) or not 1 <= declared <= _MAX_CHANNELS:
            raise ImageError(
                f"{declared} channels are declared and {len(channels)} defined; "
                f"as many were expected, 1 to {_MAX_CHANNELS}"
            )
        columns: dict[str, int] = {}
        for column, channel in enumerate(channels):
            lead = lead_of(channel)
            if lead is not None:
                columns.setdefault(lead, column)
        return cls(item, rate, samples, channels, columns)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / self.rate_hz

    @property
    def is_averaged(self) -> bool:
        """Tell whether it says that it is one beat made of many."""
        label = str(self.item.get("MultiplexGroupLabel") or "").upper()
        return any(word in label for word in ("MEDIAN", "AVERAGE", "REPRESENTATIVE"))

    def is_simultaneous_with(self, other: "MultiplexGroup") -> bool:
        """Tell whether both begin at one moment, to a sample.

        Multiplex Group Time Offset is in milliseconds from one start; without one, that start.
        """
        offsets_ms = [
            first_number(group.item.get("MultiplexGroupTimeOffset")) or 0.0
            for group in (self, other)
        ]
        return abs(offsets_ms[0] - offsets_ms[1]) <= 1000.0 / self.rate_hz

    def read(
        self, length: int, is_big_endian: bool
    ) -> dict[str, tuple[Signal, npt.NDArray[np.bool_]]]:
        """Return each lead's first samples in microvolts, and which of them are there.

        Raises
        ------
        ImageError
            When there are fewer samples than declared, or a lead has no scale.
        """
        raw = self._raw(is_big_endian)[:length]
        padding = self._padding(raw.dtype, is_big_endian)
        bridged = round(_BRIDGED_S * self.rate_hz)
        leads = {}
        for lead, column in self.columns.items():
            values = raw[:, column]
            scale_uv, offset_uv = _scale(self.channels[column], lead)
            is_there = np.ones(len(values), bool) if padding is None else values != padding
            signal = _signed(values, self.channels[column]) * scale_uv + offset_uv
            leads[lead] = _bridge(signal, is_there, bridged)
        return leads

    def _raw(self, is_big_endian: bool) -> npt.NDArray[Any]:
        bits = _count(self.item, "WaveformBitsAllocated")
        interpretation = str(self.item.get("WaveformSampleInterpretation") or "").strip("\x00 ")
        kind = _SAMPLES.get((bits, interpretation))
        if kind is None:
            raise ImageError("samples of this size and interpretation are not supported")
        value = self.item.get("WaveformData")
        data = value if isinstance(value, bytes) else b""
        needed = self.samples * len(self.channels) * bits // 8
        if len(data) < needed:
            raise ImageError(f"{needed} bytes of samples are declared, there are {len(data)}")
        return self._numbers("WaveformData", data[:needed], kind, is_big_endian).reshape(
            self.samples, len(self.channels)
        )

    def _padding(self, kind: np.dtype[Any], is_big_endian: bool) -> int | None:
        value = self.item.get("WaveformPaddingValue")
        if not isinstance(value, bytes) or len(value) < kind.itemsize:
            return None
        return int(self._numbers("WaveformPaddingValue", value, kind.str[1:], is_big_endian)[0])

    def _numbers(
        self, keyword: str, data: bytes, kind: str, is_big_endian: bool
    ) -> npt.NDArray[Any]:
        """Read bytes as whole numbers; what is left of an incomplete one at the end is dropped."""
        order, size = "<", np.dtype(kind).itemsize
        if is_big_endian and self.item[keyword].VR == "OW":
            # Big endian turns each word of two bytes, whatever it is part of (PS3.5 section 6.2).
            words = np.frombuffer(data + bytes(len(data) % 2), np.uint8).reshape(-1, 2)
            data = words[:, ::-1].tobytes()[: len(data) // size * size]
        elif is_big_endian:
            order = ">"
        return np.frombuffer(data, f"{order}{kind}", count=len(data) // size)


def _scale(channel: Dataset, lead: str) -> tuple[float, float]:
    """Return microvolts a unit, and the microvolts of a sample of zero (PS3.3 C.10.9.1.4)."""
    sensitivity = first_number(channel.get("ChannelSensitivity"))
    factor = first_number(channel.get("ChannelSensitivityCorrectionFactor"))
    baseline = first_number(channel.get("ChannelBaseline"))
    unit_uv = _unit_uv(channel)
    if sensitivity is None or sensitivity == 0 or unit_uv is None:
        raise ImageError(f"lead {lead} has no scale in volts")
    factor = 1.0 if factor is None or factor == 0 else factor
    return sensitivity * factor * unit_uv, (baseline or 0.0) * unit_uv


def _unit_uv(channel: Dataset) -> float | None:
    for unit in (channel.get("ChannelSensitivityUnitsSequence") or [])[:1]:
        for keyword in ("CodeValue", "CodeMeaning"):
            text = str(unit.get(keyword) or "")[:64].replace("\x00", "").strip()
            text = _UNIT_NAMES.get(text.lower().removesuffix("s"), text)
            match = _UNIT.fullmatch(text)
            if match:
                prefix = "u" if match[2] in ("µ", "μ") else match[2]
                return float(match[1] or 1) * _VOLTS_UV[prefix]
    return None


def _signed(values: npt.NDArray[Any], channel: Dataset) -> Signal:
    """Give samples of fewer bits their sign, where a recorder left it out of the upper bits."""
    bits = first_number(channel.get("WaveformBitsStored"))
    signal = values.astype(np.float64)
    if bits is None or values.dtype.kind != "i" or not 1 < bits < values.dtype.itemsize * 8:
        return signal
    half = 2.0 ** (bits - 1)
    if len(signal) and signal.min() >= 0 and half <= signal.max() < 2 * half:
        signal[signal >= half] -= 2 * half
    return signal


def _bridge(
    signal: Signal, is_there: npt.NDArray[np.bool_], bridged: int
) -> tuple[Signal, npt.NDArray[np.bool_]]:
    """Draw a line over gaps of at most so many samples inside the signal."""
    edges = np.flatnonzero(np.diff(np.concatenate(([1], is_there.astype(np.int8), [1]))))
    gaps = edges.reshape(-1, 2)
    inside = (gaps[:, 0] > 0) & (gaps[:, 1] < len(signal))
    short = gaps[inside & (gaps[:, 1] - gaps[:, 0] <= bridged)]
    if not len(short):
        return signal, is_there
    steps = np.zeros(len(signal) + 1, np.int8)
    steps[short[:, 0]] += 1
    steps[short[:, 1]] -= 1
    missing = np.cumsum(steps[:-1]).astype(bool)
    places = np.arange(len(signal))
    signal[missing] = np.interp(places[missing], places[is_there], signal[is_there])
    return signal, is_there | missing


def _count(item: Dataset, keyword: str) -> int:
    number = first_number(item.get(keyword))
    if number is None:
        raise ImageError(f"{keyword} is absent or no number")
    return int(number)
