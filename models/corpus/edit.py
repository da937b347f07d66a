"""The same heart in another rhythm: rare findings made of real beats.

A real ECG in sinus rhythm is taken apart (`dissection`), its beats are laid again as a plan of
another rhythm wants them (`plans`), with what that rhythm changes in P, QRS and T (`remodelling`,
`atria`), on the recording's own noise and wandering baseline. The result is synthetic: for
training only, never for a claim; and only records of training patients may be edited.

Sources: any sinus rhythm with one kind of beat, 42 to 112/min. With a narrow QRS for
"preexcitation", "clbbb" and "crbbb"; with any QRS for the others, so that a record with a bundle
branch block becomes, say, fibrillation with that block, and keeps both labels. "sinus" lays the
beats as plain sinus rhythm again: the control, from which a network learns that an edited ECG
means nothing. It keeps the labels of its source, save that *normal* needs `Edited.usual_rate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.corpus import atria, remodelling
from models.corpus.beatfinder import RATE_HZ
from models.corpus.dissection import Complex, Dissected, NotEditable, dissect
from models.corpus.draw import draw_page
from models.corpus.laying import LaidBeat, Pace, Plan
from models.corpus.plans import PLANNED, plan
from models.corpus.remainder import Leads, add

__all__ = ["EDITS", "Edited", "LaidBeat", "NotEditable", "edit", "sheet"]

#: What an ECG can be edited into.
EDITS: Final = PLANNED
_NARROW_MS: Final = 116.0


@dataclass(frozen=True)
class Edited:
    """A synthetic ECG made of a real one.

    Attributes
    ----------
    signal_uv : int16 (12, n)
        Microvolts at 250 Hz, leads I II III aVR aVL aVF V1..V6.
    beats : tuple of LaidBeat
        Every ventricular beat, in time; some lie before or after the page.
    key : str
        The finding, or "sinus".
    atria_s : tuple of float
        When the atria acted: peaks of all P waves, conducted or not; beginnings of F waves.
        Empty in fibrillation.
    usual_rate : bool
        Whether the ventricles beat 50 to 100 times a minute.
    synthetic : bool
        Always true.
    """

    signal_uv: NDArray[np.int16]
    beats: tuple[LaidBeat, ...]
    key: str
    atria_s: tuple[float, ...]
    usual_rate: bool
    synthetic: bool = True


def edit(key: str, signal_uv: NDArray[Any], seed: int) -> Edited:
    """Lay the beats of a real ECG as another rhythm.

    Parameters
    ----------
    key : str
        One of `EDITS`.
    signal_uv : (12, n)
        Microvolts at 250 Hz, about ten seconds of sinus rhythm.
    seed : int
        The same ECG, key and seed give the same samples.

    Raises
    ------
    NotEditable
        This ECG cannot be taken apart, or its QRS is too broad for `key`.
    KeyError
        If `key` is unknown.
    ValueError
        If the signal has another shape.
    """
    if key not in EDITS:
        raise KeyError(f"expected one of {', '.join(EDITS)}; received {key!r}")
    heart = dissect(signal_uv)
    if key in ("preexcitation", "clbbb", "crbbb") and heart.marks.qrs_ms > _NARROW_MS:
        raise NotEditable("the QRS is broad already")
    rng = np.random.default_rng((EDITS.index(key), seed))
    qt_s = (heart.marks.t_end - heart.marks.qrs_onset) / RATE_HZ
    rhythm = plan(key, Pace(heart.rr_s, heart.pr_s, qt_s), rng)
    out = _laid(key, heart, rhythm, rng)
    samples = out.shape[1]
    if rhythm.flutter_hz:
        out += atria.flutter_waves(samples, rhythm.flutter_hz, rhythm.flutter_phase_s, rng)
    if rhythm.fibrillates:
        out += atria.fibrillatory_waves(samples, rng)
    seen = [beat.at_s for beat in rhythm.beats if 0.0 <= beat.at_s < samples / RATE_HZ]
    rate = 60.0 * (len(seen) - 1) / (seen[-1] - seen[0])
    return Edited(
        signal_uv=_twelve(out),
        beats=rhythm.beats,
        key=key,
        atria_s=_atria(rhythm, samples / RATE_HZ),
        usual_rate=50.0 <= rate <= 100.0,
    )


def sheet(key: str, signals: Sequence[NDArray[Any]], seeds: Sequence[int]) -> NDArray[np.uint8]:
    """A contact sheet: one page for each signal and seed, three in a row, RGB.

    Signals that cannot be edited are left out.
    """
    pages = []
    for signal, seed in zip(signals, seeds, strict=True):
        try:
            edited = edit(key, signal, seed)
        except NotEditable:
            continue
        pages.append(draw_page(edited.signal_uv, RATE_HZ, "3x4+1", "pink", seed=1))
    rows = min((len(page) for page in pages), default=1)
    columns = min((page.shape[1] for page in pages), default=1)
    blank = np.full((rows, columns, 3), 255, np.uint8)
    pages = [page[:rows, :columns] for page in pages] or [blank]
    pages += [blank] * (-len(pages) % 3)
    return np.concatenate(
        [np.concatenate(pages[i : i + 3], axis=1) for i in range(0, len(pages), 3)]
    )


def _laid(key: str, heart: Dissected, rhythm: Plan, rng: np.random.Generator) -> Leads:
    """The rest of the recording with all P waves and QRS-Ts of the plan on it."""
    out = heart.rest_uv.copy()
    shapes, p_early = _shapes(key, heart, rhythm, rng)
    p_waves = {
        "sinus": (heart.p_uv, heart.p_peak),
        "ectopic": remodelling.ectopic_p(heart, rng),
    }
    times = np.array([beat.at_s for beat in rhythm.beats]) * RATE_HZ
    gains = np.stack([np.interp(times, heart.r, lead) for lead in heart.gains.T]).T
    nearest = np.abs(times[:, None] - heart.r[None]).argmin(axis=1)
    usual = heart.rr_s
    for row, beat in enumerate(rhythm.beats):
        at = round(beat.at_s * RATE_HZ)
        usual = 0.65 * usual + 0.35 * beat.rr_s
        shape = shapes[beat.shape]
        quick = _timed(shape, _t_stretch(heart, 0.5 * usual + 0.5 * beat.rr_s))
        add(out, quick * gains[row, :, None].astype(np.float32), at - shape.r)
        if beat.shape == "own":
            add(out, heart.quirks[nearest[row]], at - heart.own.r)
        if beat.p != "none":
            wave, peak = p_waves[beat.p]
            size = np.float32(rng.normal(1.0, 0.05))
            add(out, wave * size, round((beat.at_s - beat.pr_s - p_early) * RATE_HZ) - peak)
    for p_at, kind in rhythm.lone_p:
        wave, peak = p_waves[kind]
        add(out, wave, round(p_at * RATE_HZ) - peak)
    return out


def _shapes(
    key: str, heart: Dissected, rhythm: Plan, rng: np.random.Generator
) -> tuple[dict[str, Complex], float]:
    """The QRS-T of each shape that the plan asks for, and how much earlier P must stand."""
    shapes, p_early = {"own": heart.own}, 0.0
    asked = {beat.shape for beat in rhythm.beats}
    onset = heart.marks.qrs_onset
    if key == "preexcitation":
        shapes["own"], start = remodelling.preexcited(heart, rng)
        begins = (start - shapes["own"].r) / RATE_HZ
        # P begins 65 to 105 ms before delta does.
        wanted = float(rng.uniform(0.065, 0.105))
        p_rise = (heart.marks.p_peak - heart.marks.p_onset) / RATE_HZ
        p_early = wanted - begins - p_rise - heart.pr_s
    elif key == "clbbb":
        shapes["own"] = remodelling.left_block(heart, rng)
        size = np.abs(shapes["own"].uv).sum(axis=0)
        first = int(np.flatnonzero(size > 0.06 * size.max())[0]) - shapes["own"].r
        p_early = max(0.0, (onset - first) / RATE_HZ)
    elif key == "crbbb":
        shapes["own"] = remodelling.right_block(heart, rng)
    if "aberrant" in asked:
        narrow = heart.marks.qrs_ms <= _NARROW_MS
        shapes["aberrant"] = remodelling.right_block(heart, rng) if narrow else heart.own
    for name in ("ventricular", "second ventricular"):
        if name in asked:
            shapes[name] = remodelling.ventricular(heart, rng)
    return shapes, p_early


def _t_stretch(heart: Dissected, rr_s: float) -> float:
    """How much longer the stretch from J to the end of T is at another rate.

    QT by Bazett's square root for faster rates and Fridericia's cube root for slower ones, each
    where it errs least.
    """
    qt = (heart.marks.t_end - heart.marks.qrs_onset) / RATE_HZ
    qrs = heart.marks.qrs_ms / 1000.0
    share = rr_s / heart.rr_s
    wanted = qt * share ** (0.5 if share < 1.0 else 1.0 / 3.0)
    return float(np.clip((wanted - qrs) / (qt - qrs), 0.35, 1.3))


def _timed(shape: Complex, stretch: float) -> Leads:
    """A QRS-T with everything after J as much longer."""
    after = shape.uv.shape[1] - 1 - shape.j
    count = max(2, round(after * stretch))
    at = shape.j + np.arange(1, count + 1) * (after / count)
    low = np.minimum(at.astype(np.intp), shape.uv.shape[1] - 2)
    part = (at - low).astype(np.float32)
    t = shape.uv[:, low] * (1.0 - part) + shape.uv[:, low + 1] * part
    return np.concatenate([shape.uv[:, : shape.j + 1], t], axis=1)


def _atria(rhythm: Plan, seconds: float) -> tuple[float, ...]:
    if rhythm.flutter_hz:
        cycle = 1.0 / rhythm.flutter_hz
        count = int((seconds - rhythm.flutter_phase_s) / cycle) + 1
        return tuple(rhythm.flutter_phase_s + cycle * i for i in range(count))
    conducted = [beat.at_s - beat.pr_s for beat in rhythm.beats if beat.p != "none"]
    return tuple(sorted(conducted + [at for at, _ in rhythm.lone_p]))


def _twelve(leads: Leads) -> NDArray[np.int16]:
    """Eight leads to twelve, by Einthoven and Goldberger."""
    limited = np.clip(np.rint(leads), -15000, 15000)
    one, two = limited[0], limited[1]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([np.rint(np.stack(limbs)), limited[2:]]).astype(np.int16)
