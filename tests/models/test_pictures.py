"""A folder of labelled pictures is read as its list says; every mistake is named by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.corpus import draw_page, simulate
from models.corpus.pictures import Picture, PicturesError, keep, load_pictures
from models.labels import KEYS, index_of
from models.picture import raster_of


def folder(where: Path, *rows: str, header: str = "file,findings,patient,unknown") -> Path:
    """Write a folder with one drawn page, one text file and a list."""
    where.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_page(simulate("af", 1), 250.0, "3x4+1", "pink", 1)).save(where / "a.png")
    (where / "text.png").write_text("no picture")
    (where / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return where


def test_findings_patients_and_what_is_unknown_are_read(tmp_path: Path) -> None:
    read = load_pictures(folder(tmp_path, "a.png,af|crbbb,P1,pac", "text.png,none,,"))
    af, none = read
    assert {KEYS[c] for c in np.flatnonzero(af.targets)} == {"af", "crbbb"}
    assert af.known[index_of("pac")] == 0
    assert (af.patient, none.patient) == ("P1", "text.png")
    assert none.targets.sum() == 0
    assert none.known.all()


def test_patient_and_unknown_may_be_left_out(tmp_path: Path) -> None:
    read = load_pictures(folder(tmp_path, "a.png,normal", header="file,findings"))
    assert [picture.patient for picture in read] == ["a.png"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("b.png,af,,", "line 2: no such picture"),
        ("a.png,fibrillation,,", "line 2: expected findings of normal"),
        ("a.png,,,", "line 2: expected findings or none"),
        ("a.png,normal|af,,", "line 2: normal stands beside"),
        ("../labels.csv,af,,", "line 2: expected a file inside"),
        ("a.png,af,,everything", "line 2: expected findings of"),
    ],
)
def test_a_mistake_is_named_by_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    with pytest.raises(PicturesError, match=complaint):
        load_pictures(folder(tmp_path / "pictures", row))


def test_a_folder_without_list_columns_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PicturesError, match=r"labels\.csv"):
        load_pictures(tmp_path)
    with pytest.raises(PicturesError, match="findings missing"):
        load_pictures(folder(tmp_path / "one", "a.png", header="file"))
    with pytest.raises(PicturesError, match="at least one"):
        load_pictures(folder(tmp_path / "two"))


def test_what_is_no_page_is_kept_out_with_its_reason(tmp_path: Path) -> None:
    kept = keep(load_pictures(folder(tmp_path, "a.png,af,,", "text.png,none,,")))
    assert [picture.path.name for picture in kept.pictures] == ["a.png"]
    assert kept.pages.shape == (1, 224, 672)
    [(refused, reason)] = kept.refused
    assert refused.path.name == "text.png"
    assert "decoded" in reason


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_pictures_of_a_patient_stand_on_one_side(patient: str, other: str) -> None:
    nothing = np.zeros(len(KEYS), np.float32)
    one, two = (Picture(Path(name), patient, nothing, nothing) for name in ("a", other))
    assert one.part == two.part


def test_transparent_paper_is_white_and_a_turned_photograph_upright(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert (raster_of(clear) == 255).all()
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    with Image.open(path) as turned:
        assert raster_of(turned).shape == (40, 30, 3)
    deep = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    assert (raster_of(deep).min(), raster_of(deep).max()) == (0, 255)
