"""An export: the tracings and labels leave, and nothing that says whose they are."""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from desk_readings import label, reader, words
from desk_rows import analyse, drawn, make_ecg
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image, ImageDraw

from gateway import spool
from models.corpus import draw, draw_page, simulate
from models.corpus.lettering import font
from models.corpus.pictures import keep, load_pictures
from models.corpus.styles import STYLES
from models.page import NotReadable, Page, find_page
from webadmin import export, masking, trainingsets
from webadmin.models import Deed, SplitOpening, TrainingSet

NAME, PATIENT, ACCESSION = "Mustermann^Erika", "PAT-7341902", "ACC-26-00817"


def chunks(png: bytes) -> set[bytes]:
    """Return the kinds of chunks of a PNG file."""
    found, at = set(), 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.add(png[at + 4 : at + 8])
        at += 12 + length
    return found


def without_letters(monkeypatch: pytest.MonkeyPatch, **values: Any) -> npt.NDArray[np.uint8]:
    """Return the page that :func:`drawn` draws, without what is printed above and below it."""
    with monkeypatch.context() as patched:
        for name in ("_letter_header", "_letter_head"):
            patched.setattr(draw, name, lambda *_: None)
        return draw_page(**values)


@pytest.mark.parametrize("layout", ["3x4+1", "6x2", "12x1"])
@pytest.mark.parametrize("style", ["pink", "plain"])
def test_of_a_page_with_a_header_the_same_leaves_as_of_one_without(
    layout: str, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = dataclasses.replace(STYLES[style], letterhead=True)
    page: dict[str, Any] = {
        "signal_uv": simulate("normal", 4), "rate_hz": 250.0,
        "layout": layout, "style": look, "seed": 4,
    }  # fmt: skip
    printed, bare = draw_page(**page), without_letters(monkeypatch, **page)
    assert (printed != bare).sum() > 5000, "there is a header to be lost"
    left = masking.mask(find_page(printed)).grey
    clean = masking.mask(find_page(bare)).grey
    assert left.shape == clean.shape
    assert np.array_equal(left, clean)


def crossed(words: str, *, y_share: float) -> tuple[Page, Page, npt.NDArray[np.bool_]]:
    """Return a page, the same with words printed across it at a height, and where they are."""
    page = find_page(drawn("normal", "3x4+1", "pink", 2))
    picture = Image.fromarray(page.grey.copy())
    at = (0.3 * picture.width, y_share * picture.height)
    ImageDraw.Draw(picture).text(at, words, fill=20, font=font(22))
    printed = np.asarray(picture)
    return page, dataclasses.replace(page, grey=printed), printed != page.grey


@pytest.mark.parametrize("y_share", [-0.02, 0.0, 0.015, 0.95])
def test_a_name_that_reaches_into_the_tracing_is_painted_over(y_share: float) -> None:
    page, named, letters = crossed("MUSTERMANN, ERIKA 1961-04-12", y_share=y_share)
    assert letters.sum() > 300
    before, after = masking.mask(page), masking.mask(named)
    paper = int(np.median(page.grey[::4, ::4]))
    differs = (after.grey != before.grey) & letters
    assert after.wiped_px > before.wiped_px
    # Where the letters were there is paper, or what is there without them.
    assert np.all(np.abs(after.grey[differs].astype(int) - paper) < 40)


def test_the_traces_themselves_are_not_touched() -> None:
    page = find_page(drawn("pvc", "3x4+1", "pink", 3))
    masked = masking.mask(page)
    middle = slice(round(0.2 * page.grey.shape[0]), round(0.8 * page.grey.shape[0]))
    assert np.array_equal(masked.grey[middle], page.grey[middle])
    assert find_page(masked.grey).quality["rows"] == page.quality["rows"]


def test_a_page_of_two_rows_does_not_leave() -> None:
    """It is known by the names of its leads, and a name of a patient is print as they are."""
    with pytest.raises(NotReadable, match="may be a name"):
        masking.mask(find_page(drawn("normal", "2x6", "pink", 5)))


# --- the folder ----------------------------------------------------------------------------------


def patients() -> list[str]:
    """Return IDs of patients on every side of the split, whatever the key of this run."""
    found: list[str] = []
    for split in ("training", "test", "validation", "training", "training"):
        ids = (f"{PATIENT}-{number}" for number in itertools.count())
        found.append(
            next(
                one for one in ids
                if one not in found and trainingsets._drawn(f"patient {one}") == split
            )
        )  # fmt: skip
    return found


@functools.cache
def small(seed: int) -> Any:
    """Return a page with a header, of few pixels."""
    look = dataclasses.replace(STYLES["pink"], px_per_mm=3.0)
    return draw_page(simulate("normal", seed), 250.0, "3x4+1", look, seed)


def frozen(count: int = 10) -> TrainingSet:
    """Return a set of ECGs of a few patients, with pictures."""
    anna = reader("anna")
    said = (("normal",), ("af", "crbbb"), ())
    people = patients()
    for number in range(count):
        row = make_ecg(
            small(number % 3 + 1),
            patient_id=people[number // 2], patient_name=NAME, accession=ACCESSION,
        )  # fmt: skip
        analyse(row, {"normal": 0.9})
        findings = words(*said[number % 3], undecided=("pac",) if number % 3 else ())
        label(row, anna, findings=findings)
    return trainingsets.freeze("spring", anna)


@pytest.fixture
def exported(db: None, tmp_path: Path) -> Path:
    """Return the folder of an export with everything."""
    folder = tmp_path / "out"
    done = export.to_folder(frozen(), folder, actor="anna", test_purpose="a reader study")
    assert (done.count, dict(done.left_out)) == (10, {})
    return folder


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_is_what_training_reads_on_the_same_sides(exported: Path) -> None:
    pictures = load_pictures(exported)
    kept = keep(pictures)
    assert len(kept.pictures) == 10
    assert not kept.refused
    manifest = {row["file"]: row for row in rows_of(exported, "manifest.csv")}
    parts = {"training": "train", "validation": "validation", "test": "test"}
    for picture in pictures:
        row = manifest[str(picture.path.relative_to(exported))]
        assert picture.part == parts[row["split"]]
        assert picture.patient == row["patient"]
        said = [row[key] for key in words()]
        assert [bool(one) for one in picture.targets] == [one == "present" for one in said]
        assert [bool(one) for one in picture.known] == [one != "undecided" for one in said]
    assert len({picture.patient for picture in pictures}) == 5
    assert {row["split"] for row in manifest.values()} == set(parts)


def test_nothing_in_it_says_whose_it_is(exported: Path) -> None:
    item = TrainingSet.objects.get().items.select_related("instance__study")[0]
    study = item.instance.study
    assert study is not None
    identifying = (
        "Mustermann", "Erika", PATIENT, ACCESSION, item.instance.sop_instance_uid,
        study.study_instance_uid, item.patient_sha256, item.instance.sha256,
        str(study.study_date), "CART",
    )  # fmt: skip
    files = [path for path in exported.rglob("*") if path.is_file()]
    assert len(files) == 13
    for path in files:
        content = path.read_bytes()
        for text in identifying:
            assert text.encode() not in content, path.name
            assert text not in str(path.relative_to(exported))
        if path.suffix == ".png":
            assert chunks(content) == {b"IHDR", b"IDAT", b"IEND"}


def test_the_hashes_are_those_of_the_files(exported: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=exported, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count(": OK") == 12


def test_two_exports_share_no_pseudonym(exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    export.to_folder(TrainingSet.objects.get(), again, actor="anna", test_purpose="another")
    first, second = (
        {row["patient"] for row in rows_of(folder, "labels.csv")} for folder in (exported, again)
    )
    assert len(first) == len(second) == 5
    assert not first & second


def test_the_test_split_stays_here_unless_it_is_said_what_for(db: None, tmp_path: Path) -> None:
    training_set = frozen()
    assert training_set.items.filter(split="test").count() == 2
    export.to_folder(training_set, tmp_path / "without", actor="anna")
    assert len(rows_of(tmp_path / "without", "labels.csv")) == 8
    assert not SplitOpening.objects.exists()
    export.to_folder(training_set, tmp_path / "with", actor="anna", test_purpose="a study")
    assert SplitOpening.objects.get().purpose == "a study"
    deeds = Deed.objects.filter(action="export").order_by("pk")
    assert [deed.detail["with_test"] for deed in deeds] == [False, True]


def test_an_ecg_that_cannot_be_opened_stays_and_is_counted(db: None, tmp_path: Path) -> None:
    training_set = frozen()
    lost = trainingsets.open_items(training_set)[0].instance
    spool.remove(lost.spool_name)
    done = export.to_folder(training_set, tmp_path / "out", actor="anna", test_purpose="a study")
    assert done.count == 9
    assert done.left_out == {"its picture cannot be opened any more": 1}


def test_an_export_that_fails_leaves_no_folder(db: None, tmp_path: Path) -> None:
    training_set = frozen(2)
    for item in training_set.items.all():
        spool.remove(item.instance.spool_name)
    with pytest.raises(export.NotExported, match="found none"):
        export.to_folder(training_set, tmp_path / "out", actor="anna", test_purpose="a study")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
    (tmp_path / "there").mkdir()
    with pytest.raises(export.NotExported, match="does not exist"):
        export.to_folder(training_set, tmp_path / "there", actor="anna")


def test_halves_of_an_ecg_on_two_pages_do_not_leave(db: None) -> None:
    row = make_ecg(data=b"")
    row.pages = [{"number": 1, "joined_with": 2}, {"number": 2, "joined_with": 1}]
    with pytest.raises(NotReadable, match="two pages"):
        export.tracing(row)


def test_a_set_is_exported_by_command(db: None, tmp_path: Path) -> None:
    frozen(6)
    folder = tmp_path / "out"
    call_command("trainingset", "export", "spring", str(folder), "--by", "anna",
                 "--test-split", "a study")  # fmt: skip
    assert len(load_pictures(folder)) == 6
    with pytest.raises(CommandError, match="does not exist"):
        call_command("trainingset", "export", "spring", str(folder), "--by", "anna")
    with pytest.raises(CommandError, match="found none"):
        call_command("trainingset", "show", "autumn")


def test_an_export_asks_the_database_as_often_for_many_ecgs_as_for_few(
    db: None, tmp_path: Path
) -> None:
    training_set = frozen(8)
    with CaptureQueriesContext(connection) as asked:
        export.to_folder(training_set, tmp_path / "out", actor="anna", test_purpose="a study")
    assert len(asked) <= 10, "\n".join(query["sql"] for query in asked)
