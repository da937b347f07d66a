"""What a network is taught with, and what it is judged on: pages with their targets.

A lesson is a kept page (224, 672) with a target and a "known" for each logit, in this order: the
ten findings, the page kinds, the statements of the sources. Four kinds of lesson come from the
corpus:

* every real training ECG in several layouts, those with a rare finding more often;
* real ECGs of training patients edited into the rare rhythms, and re-laid in plain sinus rhythm,
  so that "edited" means nothing;
* a few wholly simulated ECGs;
* pages that are not to be read: six leads only, paper at 50 mm/s.

A hospital's own labelled pictures (`models.corpus.pictures`) come beside these or instead.
Nothing that is edited or simulated ever judges.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.corpus.edit import NotEditable, edit
from models.corpus.layouts import SIX_LEAD_LAYOUTS, TRAINING_LAYOUTS, Layout
from models.corpus.pages import Order, make_cache
from models.corpus.pictures import keep, load_pictures
from models.corpus.records import STATEMENTS, Part, Record
from models.corpus.simulate import simulate
from models.labels import KEYS, PAGE_KINDS, index_of

#: What each logit after the ten answers for.
EXTRAS: Final = (*PAGE_KINDS, *STATEMENTS)
_WIDTH: Final = len(KEYS) + len(EXTRAS)

#: Pages of real beats laid out as another rhythm. "sinus" keeps the labels of its source, but for
#: "normal" where the rate is none.
EDITED: Final = {
    "sinus": 800,
    "pvc": 200,
    "preexcitation": 450,
    "clbbb": 100,
    "crbbb": 100,
    "af": 200,
    "afl": 500,
    "atrial_escape": 500,
    "pac": 350,
    "at": 500,
}
#: Pages of wholly simulated ECGs.
SIMULATED: Final = {"preexcitation": 40, "afl": 40, "atrial_escape": 60, "at": 60}
#: Pages of each kind that is not to be read. Six leads look like twelve but for a step that is
#: missing in mid-row: 300 pages taught paper at 50 mm/s and left six leads unlearned.
OF_A_KIND: Final = {"six_leads": 1500, "fast_paper": 400}
#: How many pages a real ECG gets, and one with a finding other than normal.
VARIANTS: Final = 3
RARE_VARIANTS: Final = 7

#: Common layouts stand more often among the pages.
_LAYOUTS: Final = (*TRAINING_LAYOUTS, "3x4", "3x4+1", "3x4+1", "6x2")


@dataclass(frozen=True)
class Lessons:
    """Pages with targets.

    Attributes
    ----------
    sources : tuple of uint8 (n_i, 224, 672)
        The pages, in one or several files; row numbers run through all of them.
    targets, known : float32 (n, 10 or more)
        1 present, 0 absent; 1 where the target is known.
    names : tuple of str
        Of each page: record or file it shows, and what was done to it.
    """

    sources: tuple[NDArray[np.uint8], ...]
    targets: NDArray[np.float32]
    known: NDArray[np.float32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """How many pages there are."""
        return len(self.targets)

    def page(self, row: int) -> NDArray[np.uint8]:
        """The page of one row, uint8 (224, 672)."""
        for source in self.sources:
            if row < len(source):
                return np.asarray(source[row])
            row -= len(source)
        raise IndexError(f"expected a row below {len(self)}")

    @property
    def pages(self) -> NDArray[np.uint8]:
        """All pages as one array; meant for few."""
        return self.sources[0] if len(self.sources) == 1 else np.concatenate(self.sources)

    def __add__(self, other: "Lessons") -> "Lessons":
        """Both, one after the other."""
        return Lessons(
            self.sources + other.sources,
            np.concatenate([self.targets, other.targets]),
            np.concatenate([self.known, other.known]),
            self.names + other.names,
        )


@dataclass(frozen=True)
class _Lesson:
    order: Order
    targets: NDArray[np.float32]
    known: NDArray[np.float32]
    name: str


def training_lessons(records: Sequence[Record], work: Path) -> Lessons:
    """Draw the lessons of the corpus into caches below `work`, a file for each kind.

    They are the same whatever the seed of a training: several trainings share what is drawn.

    Writes ``manifest.csv`` beside them: every page, its record, and whether it is synthetic.
    """
    kinds = {
        "real": _real(records),
        "edited": _edited(records),
        "simulated": _simulated(),
        "kinds": _of_a_kind(records),
    }
    # A small corpus may have no ECG that can be edited.
    made = {name: list(part) for name, part in kinds.items()}
    lessons = [_drawn(part, work, name) for name, part in made.items() if part]
    all_of_them = lessons[0]
    for part in lessons[1:]:
        all_of_them += part
    with (work / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["page", "shows", "synthetic", *KEYS])
        for row, (name, target) in enumerate(
            zip(all_of_them.names, all_of_them.targets, strict=True)
        ):
            synthetic = name.startswith(("edited", "simulated"))
            rows.writerow([row, name, int(synthetic), *target[: len(KEYS)].astype(int)])
    return all_of_them


def judging_orders(records: Sequence[Record], *, pages: int = 1) -> list[Order]:
    """Some pages of each record, layouts in turn and effects by lot, with seeds of their own."""
    return [
        Order(
            record.signal_uv,
            _LAYOUTS[(index + 5 * turn) % len(_LAYOUTS)],
            990_000_000 + 1_000_000 * turn + index,
        )
        for turn in range(pages)
        for index, record in enumerate(records)
    ]


def judging_pages(records: Sequence[Record], work: Path, *, name: str, pages: int = 1) -> Lessons:
    """Draw the records of validation or test, all of them once, then all of them again."""
    orders = judging_orders(records, pages=pages)
    drawn = make_cache(work / f"{name}.u8", orders, describe=f"{name} pages")
    return Lessons(
        (drawn,),
        np.stack([record.targets for record in records] * pages),
        np.stack([record.known for record in records] * pages),
        tuple(record.record_id for record in records) * pages,
    )


def picture_lessons(folder: Path, work: Path, *, part: Part) -> Lessons:
    """The readable pictures of one part of a labelled folder.

    Writes ``refused-<part>.csv`` to `work`: the pictures that are no page, and why.

    Raises
    ------
    models.corpus.pictures.PicturesError
        The folder is not what it should be.
    """
    kept = keep([picture for picture in load_pictures(folder) if picture.part == part])
    work.mkdir(parents=True, exist_ok=True)
    with (work / f"refused-{part}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "reason"])
        rows.writerows([picture.path.name, reason] for picture, reason in kept.refused)
    count = len(kept.pictures)
    targets, known = np.zeros((count, _WIDTH), np.float32), np.zeros((count, _WIDTH), np.float32)
    for row, picture in enumerate(kept.pictures):
        targets[row, : len(KEYS)], known[row, : len(KEYS)] = picture.targets, picture.known
    return Lessons(
        (kept.pages,), targets, known, tuple(picture.path.name for picture in kept.pictures)
    )


def _real(records: Sequence[Record]) -> Iterator[_Lesson]:
    for index, record in enumerate(records):
        rare = record.targets[1:].any() or not record.known.all()
        for turn in range(RARE_VARIANTS if rare else VARIANTS):
            place = 1_000_003 + 64 * index + turn
            layout = _LAYOUTS[(index + 5 * turn) % len(_LAYOUTS)]
            yield _Lesson(
                Order(record.signal_uv, layout, place, or_clean=True),
                _row(record.targets, [0.0] * len(PAGE_KINDS), record.statements),
                _row(record.known, [1.0] * len(PAGE_KINDS), np.ones(len(STATEMENTS))),
                record.record_id,
            )


def _edited(records: Sequence[Record]) -> Iterator[_Lesson]:
    """Records of sinus rhythm without any of the nine, in another rhythm."""
    plain = [r for r in records if not r.targets[1:].any() and r.known.all()]
    total = sum(EDITED.values())
    with tqdm(total=total, desc="editing rhythms", unit="ECG") as bar:
        for place_of_key, (key, wanted) in enumerate(EDITED.items()):
            rng = np.random.default_rng((1, place_of_key))
            made, misses = 0, 0
            while plain and made < wanted:
                record = plain[int(rng.integers(len(plain)))]
                place = int(rng.integers(2**31))
                try:
                    edited = edit(key, record.signal_uv, place)
                except NotEditable:
                    misses += 1
                    if misses > 20 * wanted + 200:
                        tqdm.write(f"only {made} of {wanted} ECGs could be edited to {key}")
                        break
                    continue
                made += 1
                bar.update()
                targets, known = record.targets.copy(), record.known.copy()
                if key != "sinus":
                    targets[index_of(key)] = 1.0
                if key != "sinus" or not edited.usual_rate:
                    targets[index_of("normal")] = 0.0
                yield _Lesson(
                    Order(edited.signal_uv, _LAYOUTS[made % len(_LAYOUTS)], place, or_clean=True),
                    _row(targets, [0.0] * len(PAGE_KINDS), np.zeros(len(STATEMENTS))),
                    _row(known, [1.0] * len(PAGE_KINDS), np.zeros(len(STATEMENTS))),
                    f"edited {key} of {record.record_id}",
                )


def _simulated() -> Iterator[_Lesson]:
    for key, count in SIMULATED.items():
        for number in range(count):
            targets = np.zeros(len(KEYS), np.float32)
            targets[index_of(key)] = 1.0
            place = 77_000_000 + 1000 * index_of(key) + number
            yield _Lesson(
                Order(
                    simulate(key, 10_000 + number),
                    _LAYOUTS[number % len(_LAYOUTS)],
                    place,
                    or_clean=True,
                ),
                _row(targets, [0.0] * len(PAGE_KINDS), np.zeros(len(STATEMENTS))),
                _row(np.ones(len(KEYS)), [1.0] * len(PAGE_KINDS), np.zeros(len(STATEMENTS))),
                f"simulated {key} {number}",
            )


def kind_lessons(work: Path, *, each: int) -> Lessons:
    """So many simulated pages of each kind that is not to be read.

    A network that goes on learning where nobody has pages of these would forget them.
    """
    records = [
        Record(
            record_id=f"simulated {number}",
            source="simulated",
            patient=f"simulated {number}",
            targets=np.zeros(len(KEYS), np.float32),
            known=np.zeros(len(KEYS), np.float32),
            statements=np.zeros(len(STATEMENTS), np.float32),
            judges=False,
            only_trains=True,
            signal_uv=simulate(KEYS[number % len(KEYS)], 50_000 + number),
        )
        for number in range(each)
    ]
    lessons = list(_of_a_kind(records, dict.fromkeys(PAGE_KINDS, each)))
    return _drawn(lessons, work, "kinds")


def _of_a_kind(
    records: Sequence[Record], counts: Mapping[str, int] | None = None
) -> Iterator[_Lesson]:
    """Pages that are not to be read; what they show of the ten is not asked."""
    counts = OF_A_KIND if counts is None else counts
    for column, kind in enumerate(PAGE_KINDS):
        rng = np.random.default_rng((2, column))
        for number in range(counts[kind]):
            record = records[int(rng.integers(len(records)))]
            layout: str | Layout = _LAYOUTS[number % len(_LAYOUTS)]
            targets = np.zeros(len(PAGE_KINDS), np.float32)
            targets[column] = 1.0
            if kind == "six_leads":
                layout = SIX_LEAD_LAYOUTS[number % len(SIX_LEAD_LAYOUTS)]
                # Limb leads on one page and chest leads on the next are often both at 50 mm/s.
                targets[PAGE_KINDS.index("fast_paper")] = number % 3 == 0
            speed = 50.0 if targets[PAGE_KINDS.index("fast_paper")] else 25.0
            yield _Lesson(
                Order(
                    record.signal_uv,
                    layout,
                    int(rng.integers(2**31)),
                    speed_mm_per_s=speed,
                    or_clean=True,
                ),
                _row(np.zeros(len(KEYS)), targets, np.zeros(len(STATEMENTS))),
                _row(np.zeros(len(KEYS)), np.ones(len(PAGE_KINDS)), np.zeros(len(STATEMENTS))),
                f"{kind} of {record.record_id}",
            )


def _row(*parts: Any) -> NDArray[np.float32]:
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def _drawn(lessons: Sequence[_Lesson], work: Path, name: str) -> Lessons:
    drawn = make_cache(
        work / f"{name}.u8",
        [lesson.order for lesson in lessons],
        describe=f"{name} pages",
    )
    return Lessons(
        (drawn,),
        np.stack([lesson.targets for lesson in lessons]),
        np.stack([lesson.known for lesson in lessons]),
        tuple(lesson.name for lesson in lessons),
    )
