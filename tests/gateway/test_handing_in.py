"""A picture, a PDF or a DICOM file becomes an ECG of the right patient, once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desk_rows import analyse, compose, make_ecg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judges import dciodvfy
from pictures import page, save_picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset, dcmread
from pydicom.uid import UID, JPEGBaseline8Bit
from pytest_django import Settings
from tiffs import endless_pages

from dicom_node import contexts
from dicom_node.document import ENCAPSULATED_PDF
from dicom_node.image import StoredImage
from dicom_node.jpeg import read_jpeg
from dicom_node.order import Code, Order
from gateway import handing_in, pages, spool, wrapping
from gateway.handing_in import NotTaken, hand_in
from gateway.models import Door, Instance
from gateway.states import State

ORDER = Order(
    patient_id="P-4711",
    patient_name="Zhang^San=张^三",
    patient_birth_date="19570809",
    patient_sex="F",
    accession_number="ACC-17",
)
FROM_WORKLIST = Order(
    **{
        **ORDER.as_values(),
        "study_instance_uid": "1.2.826.0.1.5",
        "issuer_of_patient_id": "HOSPITAL",
        "referring_physician_name": "Referrer^Rita",
        "requested_procedure_id": "RP-1",
        "requested_procedure_description": "Resting 12-lead ECG",
        "requested_procedure_code": Code("ECG12", "99HOSPITAL", "Resting 12-lead ECG"),
        "scheduled_step_id": "SPS-1",
        "scheduled_step_description": "ECG at rest",
    }
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _spool(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"


def submit(path: Path, order: Order | None = ORDER) -> Instance:
    return hand_in(path, order=order, door=Door.SUBMIT, actor="test").instance


def stored(row: Instance) -> Dataset:
    return dcmread(spool.locate(row.spool_name))


def faults(row: Instance) -> list[str]:
    """Return what dciodvfy finds, but that it does not know a hospital's own codes."""
    found = dciodvfy(spool.locate(row.spool_name))
    return [line for line in found if "<99HOSPITAL>" not in line]


def raster(row: Instance) -> Any:
    with StoredImage(spool.locate(row.spool_name)) as image:
        return image.read(0)


def saved(path: Path, **options: Any) -> Path:
    Image.fromarray(page()[::4, ::4]).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff"])
def test_a_picture_becomes_an_object_of_its_patient_with_the_same_pixels(
    name: str, tmp_path: Path
) -> None:
    row = submit(saved(tmp_path / name))
    assert (row.state, row.door, row.calling_title) == (State.RECEIVED, Door.SUBMIT, "SUBMIT")
    assert [t.actor for t in row.transitions.all()] == ["test"]
    ds = stored(row)
    assert (ds.PatientID, str(ds.PatientName)) == ("P-4711", "Zhang^San=张^三")
    assert (ds.PatientBirthDate, ds.PatientSex, ds.AccessionNumber) == ("19570809", "F", "ACC-17")
    assert np.array_equal(raster(row), page()[::4, ::4])
    assert faults(row) == []


def test_a_webp_is_taken_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    saved(tmp_path / "a.webp", lossless=True).rename(tmp_path / "picture.jpg")
    assert np.array_equal(raster(submit(tmp_path / "picture.jpg")), page()[::4, ::4])


def test_what_the_worklist_says_of_the_order_is_in_the_object(tmp_path: Path) -> None:
    row = submit(saved(tmp_path / "a.png"), FROM_WORKLIST)
    ds = stored(row)
    assert ds.StudyInstanceUID == "1.2.826.0.1.5"
    assert (ds.StudyDescription, ds.IssuerOfPatientID) == ("Resting 12-lead ECG", "HOSPITAL")
    assert str(ds.ReferringPhysicianName) == "Referrer^Rita"
    (request,) = ds.RequestAttributesSequence
    assert (request.RequestedProcedureID, request.ScheduledProcedureStepID) == ("RP-1", "SPS-1")
    assert request.AccessionNumber == "ACC-17"
    assert ds.ProcedureCodeSequence[0].CodeValue == "ECG12"
    assert faults(row) == []


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"quality": 60}])
def test_a_jpeg_keeps_its_coded_picture_bit_for_bit(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.jpg", **options)
    row = submit(path)
    assert row.transfer_syntax_uid == JPEGBaseline8Bit
    ds = stored(row)
    frame = read_jpeg(path.read_bytes())
    assert frame is not None
    assert frame.stream in ds.PixelData
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    with Image.open(path) as picture:
        expected = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(raster(row) - expected).max() <= 3  # decoders round their colours differently
    assert faults(row) == []


def test_a_grey_jpeg_keeps_its_coded_picture(tmp_path: Path) -> None:
    Image.fromarray(page()[::4, ::4, 1].copy()).save(tmp_path / "grey.jpg")
    row = submit(tmp_path / "grey.jpg")
    assert row.transfer_syntax_uid == JPEGBaseline8Bit
    assert stored(row).PhotometricInterpretation == "MONOCHROME2"
    assert raster(row).shape == page()[::4, ::4].shape[:2]


def test_what_a_phone_writes_beside_the_picture_does_not_come_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a phone that says where it was"
    path = saved(tmp_path / "a.jpg", exif=exif, comment=b"a comment of the sender")
    path.write_bytes(path.read_bytes() + b"a film after the picture")
    content = spool.locate(submit(path).spool_name).read_bytes()
    for kept_out in (b"where it was", b"a comment of", b"a film after"):
        assert kept_out in path.read_bytes()
        assert kept_out not in content


@pytest.mark.parametrize("orientation", [3, 6, 8, 2])
def test_a_photo_is_turned_the_way_it_was_held(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", exif=exif, quality=95)
    found = raster(submit(path))
    turned = {3: np.rot90(page()[::4, ::4], 2), 6: np.rot90(page()[::4, ::4], -1)}
    turned |= {8: np.rot90(page()[::4, ::4]), 2: page()[::4, ::4][:, ::-1]}
    expected = turned[orientation].astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 8


def test_a_progressive_jpeg_is_decoded_and_said_to_be_lossy(tmp_path: Path) -> None:
    row = submit(saved(tmp_path / "a.jpg", progressive=True))
    ds = stored(row)
    assert row.transfer_syntax_uid == contexts.EXPLICIT_LE
    assert ds.LossyImageCompression == "01"


@pytest.mark.parametrize("is_grey", [True, False])
def test_the_pages_of_a_tiff_are_the_frames_of_one_object(is_grey: bool, tmp_path: Path) -> None:
    first = page()[::4, ::4, 1] if is_grey else page()[::4, ::4]
    second = 255 - first
    frames = [Image.fromarray(np.ascontiguousarray(one)) for one in (first, second)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    row = submit(tmp_path / "a.tiff")
    with StoredImage(spool.locate(row.spool_name)) as image:
        assert image.frame_count == 2
        assert np.array_equal(image.read(1), second)
    assert faults(row) == []


def pdf(text: str = "ECG") -> bytes:
    """Return a PDF of one empty page."""
    buffer = io.BytesIO()
    Image.fromarray(page()[::8, ::8]).save(buffer, "PDF", title=text)
    return buffer.getvalue()


def test_a_pdf_goes_in_as_it_is(tmp_path: Path) -> None:
    content = pdf()
    (tmp_path / "a.pdf").write_bytes(content)
    row = submit(tmp_path / "a.pdf", FROM_WORKLIST)
    assert row.sop_class_uid == ENCAPSULATED_PDF
    ds = stored(row)
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == content
    assert ds.StudyInstanceUID == "1.2.826.0.1.5"
    assert faults(row) == []


def test_a_pdf_that_does_not_begin_with_its_header_is_a_pdf(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf\r\n" + pdf()
    (tmp_path / "a.pdf").write_bytes(content)
    row = submit(tmp_path / "a.pdf")
    assert row.sop_class_uid == ENCAPSULATED_PDF
    ds = stored(row)
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == content
    assert pages.raster(spool.locate(row.spool_name), 1).size > 0


def test_a_picture_that_mentions_a_pdf_is_a_picture(tmp_path: Path) -> None:
    notes = PngInfo()
    notes.add_text("Source", "%PDF-1.7")
    row = submit(saved(tmp_path / "a.png", pnginfo=notes))
    assert np.array_equal(raster(row), page()[::4, ::4])


# --- once ----------------------------------------------------------------------------------------


def test_the_same_file_for_the_same_patient_is_one_ecg(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    first = hand_in(path, order=ORDER, door=Door.SUBMIT, actor="test")
    again = hand_in(path, order=ORDER, door=Door.UPLOAD, actor="another")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.instance == first.instance
    assert len([p for p in spool.root().rglob("*") if p.is_file()]) == 1


def test_another_patient_or_order_is_another_ecg_and_an_order_is_one_study(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    other = saved(tmp_path / "b.png", compress_level=1)
    values = ORDER.as_values()
    rows = [
        submit(path),
        submit(other),
        submit(path, Order(**{**values, "accession_number": "ACC-18"})),
        submit(path, Order(**{**values, "patient_id": "P-4712"})),
        submit(path, Order(**{**values, "accession_number": ""})),
        submit(other, Order(**{**values, "accession_number": ""})),
    ]
    assert Instance.objects.count() == 6
    studies = [stored(row).StudyInstanceUID for row in rows]
    assert studies[0] == studies[1]
    assert len(set(studies)) == 5


@pytest.mark.parametrize(
    "another",
    [
        {"study_instance_uid": "1.2.826.0.1.6"},
        {"requested_procedure_id": "RP-2"},
        {"issuer_of_patient_id": "CLINIC"},
    ],
)
def test_another_request_of_the_same_accession_number_is_another_ecg(
    another: dict[str, Any], tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.png")
    rows = [submit(path, FROM_WORKLIST), submit(path, replace(FROM_WORKLIST, **another))]
    assert rows[0] != rows[1]
    keyword = {
        "study_instance_uid": "StudyInstanceUID",
        "issuer_of_patient_id": "IssuerOfPatientID",
    }
    for name, value in another.items():
        assert stored(rows[1]).get(keyword.get(name, "StudyID")) == value


@pytest.mark.parametrize(
    ("corrected", "said"),
    [
        ({"patient_name": "Zhang^Shan"}, "another patient's name;"),
        ({"patient_birth_date": "19570908", "patient_sex": "M"}, "another birth date and sex;"),
    ],
)
def test_a_correction_of_what_is_here_is_refused_and_not_swallowed(
    corrected: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.png")
    row = submit(path)
    with pytest.raises(NotTaken, match=f"already as ECG {row.pk} .*{said}"):
        submit(path, replace(ORDER, **corrected))
    assert submit(path, replace(ORDER, patient_name="", patient_sex="")) == row


def test_an_ecg_whose_file_was_lost_gets_it_back_when_it_is_handed_in_again(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "a.png")
    row = submit(path)
    lost = spool.locate(row.spool_name)
    lost.unlink()
    Instance.objects.filter(pk=row.pk).update(sha256="of an earlier minute", size_bytes=1)
    assert submit(path) == row
    row.refresh_from_db()
    assert stored(row).PatientID == "P-4711"
    content = lost.read_bytes()
    data_set = content[content.index(b"\x08\x00\x05\x00CS") :]
    assert (row.sha256, row.size_bytes) == (hashlib.sha256(data_set).hexdigest(), len(content))


# --- a DICOM file --------------------------------------------------------------------------------


def test_a_dicom_file_is_taken_as_it_is(tmp_path: Path) -> None:
    ds = save_picture(tmp_path / "a.dcm", patient_id="P-9", accession_number="X")
    content = (tmp_path / "a.dcm").read_bytes()
    row = submit(tmp_path / "a.dcm", None)
    assert row.sop_instance_uid == ds.SOPInstanceUID
    kept = spool.locate(row.spool_name).read_bytes()
    data_set = content[content.index(b"\x08\x00\x05\x00CS") :]
    assert kept.endswith(data_set)
    assert submit(tmp_path / "a.dcm", Order("P-9", accession_number="X")) == row


@pytest.mark.parametrize(
    "order", [Order("P-4711"), Order("P-9", accession_number="ACC-17")], ids=["patient", "order"]
)
def test_a_dicom_file_of_another_patient_or_order_asks(order: Order, tmp_path: Path) -> None:
    save_picture(tmp_path / "a.dcm", patient_id="P-9", accession_number="X")
    with pytest.raises(NotTaken, match="the file says"):
        submit(tmp_path / "a.dcm", order)
    assert not Instance.objects.exists()


def test_a_result_of_ours_is_no_ecg(tmp_path: Path) -> None:
    ds = save_picture(tmp_path / "result.dcm")
    report = compose(analyse(make_ecg(), {}))[0]
    report.sop_instance_uid = ds.SOPInstanceUID
    report.save()
    with pytest.raises(NotTaken, match="received our own result"):
        submit(tmp_path / "result.dcm", None)


# --- what is not taken ---------------------------------------------------------------------------


def cut(path: Path) -> None:
    saved(path.with_suffix(".png"))
    content = path.with_suffix(".png").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def wrong_class(path: Path) -> None:
    ds = save_picture(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    ds.save_as(path, enforce_file_format=True)


def two_sizes(path: Path) -> None:
    frames = [Image.new("L", (40, 30)), Image.new("L", (30, 40))]
    frames[0].save(path, "TIFF", save_all=True, append_images=frames[1:])


def many_pages(path: Path) -> None:
    frames = [Image.new("L", (40, 30), n) for n in range(12)]
    frames[0].save(path, "TIFF", save_all=True, append_images=frames[1:])


def many_large_pages(path: Path) -> None:
    frames = [Image.new("1", (6300, 6300), n % 2) for n in range(7)]
    frames[0].save(path, "TIFF", save_all=True, append_images=frames[1:], compression="group4")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("an ECG in words"), "received none of these"),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(200)), "save it as JPEG"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(200)), "ZIP archive"),
        (lambda path: Image.new("L", (9, 9)).save(path, "GIF"), "GIF"),
        (lambda path: Image.new("L", (9000, 9000)).save(path, "PNG"), "at most 40 million pixels"),
        (lambda path: Image.new("1", (15000, 15000)).save(path, "PNG"), "at most 40 million"),
        (lambda path: path.write_bytes(bytes(128) + b"DICM" + bytes(50)), "not an ECG object"),
        (cut, "damaged picture"),
        (wrong_class, "received CT Image Storage"),
        (two_sizes, "one file a page"),
        (many_pages, "at most 8 pages, received more"),
        (many_large_pages, "together at most 240 MB when decoded"),
        (endless_pages, "at most 8 pages, received more"),
    ],
)
def test_what_cannot_be_an_ecg_is_refused_with_what_was_expected_and_received(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "file")
    with pytest.raises(NotTaken, match=said):
        submit(tmp_path / "file")
    assert not Instance.objects.exists()
    assert not [p for p in spool.root().rglob("*") if p.is_file()]


def test_a_file_that_is_not_there_and_a_picture_of_nobody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match="cannot be opened"):
        submit(tmp_path / "missing.png")
    with pytest.raises(NotTaken, match="patient's ID"):
        submit(saved(tmp_path / "a.png"), None)


def test_a_file_beyond_the_limit_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(handing_in.MAX_PICTURE_BYTES + 1)
    with pytest.raises(NotTaken, match="at most 64 MB"):
        submit(tmp_path / "large.png")


def test_as_many_pages_are_taken_as_are_looked_at() -> None:
    assert wrapping.MAX_PAGES == pages.MAX_PAGES


# --- JPEG files of any kind ----------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_a_damaged_jpeg_file_is_a_frame_or_none(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    Image.fromarray(page()[::16, ::16]).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    frame = read_jpeg(bytes(content[:end]))
    assert frame is None or frame.stream.startswith(b"\xff\xd8")
