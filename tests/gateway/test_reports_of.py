"""Rows and files -> reports: every output, every language, every kind of object in the spool."""

from __future__ import annotations

import io

import numpy as np
import pytest
from desk_rows import analyse, content, drawn, make_ecg
from pdfs import encapsulated, pdf_of
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from report_cases import pdf_text, walk
from waveforms import recorded, samples_uv, twelve_lead

from dicom_node import report
from dicom_node.capture import secondary_capture
from gateway import sources
from gateway.models import Finding, Instance
from gateway.outputs import SOP_CLASSES, Language, Output

pytestmark = pytest.mark.django_db


def spooled(ds: Dataset) -> Instance:
    """Return an analysed row of an object."""
    row = make_ecg(
        data=content(ds), sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID
    )
    return analyse(row, {"af": 0.93})


def test_every_output_in_every_language_is_composed_from_the_rows() -> None:
    row = analyse(make_ecg(patient_name="Wang^XiaoDong=王^小东"), {"af": 0.93})
    uids = set()
    for language, said in (
        (Language.ENGLISH, "Atrial fibrillation"),
        (Language.CHINESE, "心房颤动"),
    ):
        made = sources.reports_of(row, list(Output), language)
        assert list(made) == list(Output)
        for output, (ds, file) in made.items():
            read = dcmread(io.BytesIO(file))
            assert read.SOPClassUID == SOP_CLASSES[output]
            assert read.SOPInstanceUID == ds.SOPInstanceUID
            uids.add(str(ds.SOPInstanceUID))
            if read.Modality == "SR":
                assert f"{said}: " in report.render_tree(read) or f"{said}：" in (
                    report.render_tree(read)
                )
        assert said in pdf_text(made[Output.PDF][0])
        assert "王小东 (Wang XiaoDong)" in pdf_text(made[Output.PDF][0])
    assert len(uids) == 2 * len(Output)


def test_the_default_is_the_usual_two_in_english() -> None:
    made = sources.reports_of(analyse(make_ecg(), {}))
    assert list(made) == [Output.BASIC_TEXT, Output.COMPREHENSIVE]


def test_the_page_shown_is_the_page_that_was_read() -> None:
    pages = np.stack([np.full((200, 300, 3), level, np.uint8) for level in (60, 200)])
    ds = secondary_capture(pages[0], patient_id="P-1")
    ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.4")
    ds.NumberOfFrames, ds.PixelData = 2, pages.tobytes()
    row = spooled(ds)
    row.frame_number, row.region = 2, [[10, 10], [290, 10], [290, 190], [10, 190]]
    row.pages = [
        {"number": 1, "reason": None, "region": [[5, 5], [95, 5], [95, 95], [5, 95]]},
        {"number": 2, "reason": None, "region": row.region},
    ]
    row.save()
    Finding.objects.filter(instance=row).update(frame_number=2)
    Finding.objects.filter(instance=row, key="af").update(frame_number=1)
    made = sources.reports_of(row, [Output.RESULT_PAGE, Output.COMPREHENSIVE])
    page = made[Output.RESULT_PAGE][0]
    raster = np.frombuffer(page.PixelData, np.uint8).reshape(page.Rows, page.Columns, 3)
    levels = set(np.unique(raster[400:900, 400:800]))
    assert 200 in levels
    assert 60 not in levels
    (scoord,) = (
        n for n in walk(report.tree(made[Output.COMPREHENSIVE][0])) if n.value_type == "SCOORD"
    )
    assert scoord.value.startswith("(5, 5) (95, 5)")
    assert scoord.children[0].value.endswith("frame 1")


def test_halves_that_were_read_as_one_are_both_reported_on() -> None:
    ds = secondary_capture(np.full((200, 300, 3), 200, np.uint8), patient_id="P-1")
    ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.4")
    ds.NumberOfFrames, ds.PixelData = 4, ds.PixelData * 4
    row = spooled(ds)
    row.frame_number = 1
    row.pages = [
        {"number": n, "reason": None, "region": [[n, 5], [95, 5], [95, 95], [n, 95]],
         "joined_with": other}
        for n, other in ((1, 2), (2, 1), (3, 4), (4, 3))
    ]  # fmt: skip
    row.save()
    Finding.objects.filter(instance=row).update(frame_number=1)
    analysed = sources.result_of(row, ds)
    (joined,) = analysed.joined
    assert joined.frames == (1, 2), "on pages 3 and 4 nothing was read"
    assert [region and region[0] for region in joined.regions] == [(1.0, 5.0), (2.0, 5.0)]
    made = sources.reports_of(row, [Output.COMPREHENSIVE], Language.CHINESE)
    text = report.render_tree(made[Output.COMPREHENSIVE][0])
    assert "第 1 页和第 2 页作为同一份心电图合并判读" in text


def test_a_waveform_is_shown_as_paper_with_the_numbers_of_its_recorder() -> None:
    row = spooled(dcmread(recorded()))
    made = sources.reports_of(row, list(Output), Language.ENGLISH)
    for output, (ds, _) in made.items():
        if ds.Modality == "SR":
            kinds = {n.value_type for n in walk(report.tree(ds))}
            assert "WAVEFORM" in kinds
            assert kinds.isdisjoint({"IMAGE", "SCOORD"}), output
            assert "Stated by the source, not by this gateway: " in report.render_tree(ds)
    page = made[Output.RESULT_PAGE][0]
    raster = np.frombuffer(page.PixelData, np.uint8).reshape(page.Rows, page.Columns, 3)
    assert len(np.unique(raster[300:900, 100:1200].reshape(-1, 3), axis=0)) > 100


def test_what_was_not_read_of_a_waveform_is_known_by_its_words() -> None:
    samples = samples_uv(500.0, 20.0)
    samples[8] = 0.0
    row = spooled(twelve_lead(samples))
    made = sources.reports_of(row, [Output.BASIC_TEXT], Language.CHINESE)
    text = report.render_tree(made[Output.BASIC_TEXT][0])
    for said in ("平直无信号的导联：V3", "判读范围：20 秒记录中"):
        assert said in text
    assert "来源设备的测量值" not in text


def test_a_document_is_reported_on_by_its_page() -> None:
    row = spooled(encapsulated(pdf_of(drawn(), drawn("af"))))
    row.frame_number, row.pages = 2, [
        {"number": number, "reason": None, "region": None} for number in (1, 2)
    ]  # fmt: skip
    row.save()
    made = sources.reports_of(row, [Output.BASIC_TEXT, Output.COMPREHENSIVE, Output.PDF])
    for output in (Output.BASIC_TEXT, Output.COMPREHENSIVE):
        assert "Page 2 of the source was read." in report.render_tree(made[output][0])
        assert "COMPOSITE" in {n.value_type for n in walk(report.tree(made[output][0]))}
    assert "Page 2 of the source was read." in pdf_text(made[Output.PDF][0])
