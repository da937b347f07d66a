"""What is written on a page: fonts, lead names, letterheads, machine statements.

All of it is invented and depends on the seed alone. Machines print their own diagnosis above the
tracing, and a network can learn to read it; so the pages carry such statements too, drawn by lot
without regard to the ECG: whoever reads them learns nothing.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ImageDraw, ImageFont

#: Fonts of the packages that requirements/debian.txt names. A page asks for a font by its place in
#: this list; where a file is missing Pillow's own font takes its place.
FONT_FILES: Final = (
    "",
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "dejavu/DejaVuSerif.ttf",
    "dejavu/DejaVuSans-Bold.ttf",
    "noto/NotoSansCJK-Regular.ttc",
)
CHINESE_FONT: Final = FONT_FILES.index("noto/NotoSansCJK-Regular.ttc")
_FOLDERS: Final = (Path("/usr/share/fonts/truetype"), Path("/usr/share/fonts/opentype"))

_FIELDS: Final = (
    "ID", "Name", "Sex", "Age", "Room", "Ward", "Date", "Time", "Device", "Technician", "Order",
    "Ref.", "Location", "Cart", "Page 1 of 1", "Unit", "Station", "Site", "Vent. rate", "PR",
    "QRS", "QT/QTc", "P-R-T axes", "Referred by", "Confirmed by", "BP", "Medication",
)  # fmt: skip
_CHINESE_FIELDS: Final = (
    "姓名", "性别", "年龄", "科室", "床号", "住院号", "检查日期",
    "心率", "间期", "电轴", "报告医生", "审核",
)  # fmt: skip
_STATEMENTS: Final = (
    "Normal ECG", "Sinus rhythm", "Abnormal ECG", "Borderline ECG", "Atrial fibrillation",
    "Left bundle branch block", "Right bundle branch block", "Sinus bradycardia", "Atrial flutter",
    "Premature ventricular complexes", "Premature atrial complexes", "Left axis deviation",
    "Unconfirmed", "Nonspecific T wave abnormality", "Wolff-Parkinson-White", "Otherwise normal",
    "Ectopic atrial tachycardia", "Escape beats", "Poor data quality", "Compare with prior ECG",
)  # fmt: skip
_CHINESE_STATEMENTS: Final = (
    "窦性心律", "正常心电图", "心房颤动", "室性早搏", "房性早搏", "完全性左束支阻滞",
    "完全性右束支阻滞", "未确认报告",
)  # fmt: skip
_LETTERHEADS: Final = (
    "GENERAL HOSPITAL", "Department of Cardiology", "County Medical Center", "Heart Clinic",
    "University Hospital", "Emergency Department", "Outpatient ECG",
)  # fmt: skip


@lru_cache(maxsize=256)
def font(size_px: int, number: int = 0) -> Any:
    """The font at a place of `FONT_FILES`, at least 7 pixels high."""
    size = max(7, size_px)
    for folder in _FOLDERS:
        path = folder / FONT_FILES[number]
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size=size)


def fonts_present() -> tuple[str, ...]:
    """The files of `FONT_FILES` that this machine has: a page depends on them."""
    return tuple(
        name
        for name in FONT_FILES
        if name and any((folder / name).is_file() for folder in _FOLDERS)
    )


def header_lines(rng: np.random.Generator, *, chinese: bool) -> list[list[str]]:
    """Two to four columns of invented lines, machine statements drawn by lot among them."""
    columns = []
    for _ in range(int(rng.integers(2, 5))):
        lines = [_field(rng, chinese) for _ in range(int(rng.integers(2, 6)))]
        columns.append(lines)
    if rng.random() < 0.6:
        said = _CHINESE_STATEMENTS if chinese else _STATEMENTS
        count = int(rng.integers(1, 4))
        columns[-1] = [f"{_pick(rng, said)}" for _ in range(count)] + columns[-1][:2]
    return columns


def letterhead(rng: np.random.Generator) -> str:
    """The name of no hospital."""
    return _pick(rng, _LETTERHEADS)


def _field(rng: np.random.Generator, chinese: bool) -> str:
    value = "".join(str(digit) for digit in rng.integers(0, 10, rng.integers(2, 10)))
    if chinese:
        return f"{_pick(rng, _CHINESE_FIELDS)}: {value}"
    return f"{_pick(rng, _FIELDS)}: {value}"


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def scribble(
    pen: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    at: tuple[float, float],
    *,
    size_px: float,
    ink: tuple[int, int, int],
) -> None:
    """A hand's mark: a wandering stroke of no meaning, as a tick or a signature leaves it."""
    count = int(rng.integers(8, 30))
    steps = rng.normal(0.0, 0.35, (count, 2)) * size_px
    steps[:, 0] += 0.25 * size_px
    smooth = np.stack([np.convolve(steps[:, axis], np.ones(3) / 3, mode="same") for axis in (0, 1)])
    path = np.cumsum(smooth, axis=1).T + np.array(at)
    pen.line([(float(x), float(y)) for x, y in path], fill=ink, width=max(1, round(size_px / 12)))
