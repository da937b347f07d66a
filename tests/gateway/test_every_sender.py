"""Every kind of object, in every encoding it exists in, from senders that share no code.

Each combination is one ECG with an order of its own. It is sent by one of the four senders in
turn, read, and its two reports are looked for in a real archive, by the order.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from pdfs import encapsulated, pdf_of
from peers import Orthanc, require
from pictures import page
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless
from pytest_django import Settings
from senders import CALLED, Send, dcmjs_sends, dcmtk_sends, orthanc_sends, pixelmed_sends
from waveforms import GENERAL_ECG, group, heart, twelve_lead, waveform_object

from dicom_node import contexts
from dicom_node.capture import secondary_capture
from dicom_node.image import StoredImage
from dicom_node.scp import StorageSCP
from gateway import ingest, network, pipeline, spool
from gateway.models import Instance, Peer
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

LITTLE: Final = (contexts.IMPLICIT_LE, contexts.EXPLICIT_LE, contexts.DEFLATED_LE)
UNCOMPRESSED: Final = (*LITTLE, contexts.EXPLICIT_BE)
LOSSLESS: Final = (
    *UNCOMPRESSED,
    contexts.RLE,
    contexts.JPEG_LOSSLESS_SV1,
    contexts.JPEG_LS_LOSSLESS,
    contexts.JPEG_2000_LOSSLESS,
)
LOSSY: Final = (
    contexts.JPEG_BASELINE,
    contexts.JPEG_EXTENDED,
    contexts.JPEG_LS_NEAR,
    contexts.JPEG_2000,
)
"""JPEG Lossless with another predictor (…4.57) is not sent here: of the four senders only
PixelMed's would propose it. That it is taken and decoded is tested where pictures are decoded."""

_PROGRAMS: Final = {
    contexts.IMPLICIT_LE: ("dcmconv", "+ti"),
    contexts.EXPLICIT_BE: ("dcmconv", "+tb"),
    contexts.DEFLATED_LE: ("dcmconv", "+td"),
    contexts.RLE: ("dcmcrle",),
    contexts.JPEG_LOSSLESS_SV1: ("dcmcjpeg", "+e1"),
    contexts.JPEG_BASELINE: ("dcmcjpeg", "+eb", "+q", "95"),
    contexts.JPEG_EXTENDED: ("dcmcjpeg", "+ee", "+q", "95"),
    contexts.JPEG_LS_LOSSLESS: ("dcmcjpls", "+el"),
    contexts.JPEG_LS_NEAR: ("dcmcjpls", "+en"),
}


@dataclass(frozen=True)
class Sent:
    """One combination: what it is, how it is encoded, the order it belongs to."""

    kind: str
    syntax: str
    accession: str
    sop_instance_uid: str
    path: Path


def small_page() -> npt.NDArray[np.uint8]:
    """The page at half its size: enough to be read, quick to encode."""
    return np.ascontiguousarray(page()[::2, ::2])


def rgb() -> Dataset:
    return secondary_capture(small_page(), patient_id="")


def grey(photometric: str = "MONOCHROME2") -> Dataset:
    values = small_page().min(axis=2)
    ds = secondary_capture(255 - values if photometric == "MONOCHROME1" else values, patient_id="")
    ds.PhotometricInterpretation = photometric
    return ds


def palette() -> Dataset:
    """A screenshot: sixteen greys, entries of 16 bits."""
    codes = (small_page().min(axis=2) // 16).astype(np.uint8)
    ds = secondary_capture(codes, patient_id="")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    table = (np.arange(16, dtype="<u2") * 17 * 257).tobytes()
    for colour in ("Red", "Green", "Blue"):
        ds[f"{colour}PaletteColorLookupTableDescriptor"] = _us([16, 0, 16], colour)
        setattr(ds, f"{colour}PaletteColorLookupTableData", table)
    return ds


def _us(values: list[int], colour: str) -> Any:
    from pydicom import DataElement

    return DataElement(f"{colour}PaletteColorLookupTableDescriptor", "US", values)


def several_pages() -> Dataset:
    """Two pages, the first blank."""
    ds = secondary_capture(small_page(), patient_id="")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.4")
    ds.NumberOfFrames = 2
    ds.PageNumberVector = [1, 2]
    ds.FrameIncrementPointer = (0x0018, 0x2001)
    ds.PixelData = b"\xff" * len(ds.PixelData) + ds.PixelData
    return ds


def general_ecg() -> Dataset:
    return waveform_object(group(heart(), 250.0), sop_class_uid=GENERAL_ECG)


IMAGES: Final = {
    "SC RGB": (rgb, (*LOSSLESS, *LOSSY)),
    "SC MONOCHROME1": (lambda: grey("MONOCHROME1"), LOSSLESS),
    "SC MONOCHROME2": (grey, (*LOSSLESS, *LOSSY)),
    "SC PALETTE COLOR": (palette, LOSSLESS),
    "SC YBR_FULL_422": (rgb, (contexts.JPEG_BASELINE, contexts.JPEG_EXTENDED)),
    "multi-frame true colour": (several_pages, (*LOSSLESS, contexts.JPEG_BASELINE)),
}
OTHERS: Final = {
    "12-lead ECG waveform": (lambda: twelve_lead(heart(), 250.0), UNCOMPRESSED),
    "General ECG waveform": (general_ecg, UNCOMPRESSED),
    "encapsulated PDF": (lambda: encapsulated(pdf_of(page())), UNCOMPRESSED),
}


def encoded(ds: Dataset, syntax: str, path: Path, *, options: tuple[str, ...] = ()) -> None:
    """Save `ds` in a transfer syntax by a program that is not ours, but for JPEG 2000."""
    ds.save_as(path, enforce_file_format=True)
    if syntax == contexts.EXPLICIT_LE:
        return
    if syntax in (contexts.JPEG_2000, contexts.JPEG_2000_LOSSLESS):
        again = dcmread(path)
        is_lossy = syntax == contexts.JPEG_2000
        again.compress(
            JPEG2000 if is_lossy else JPEG2000Lossless,
            j2k_psnr=[45.0] if is_lossy else None,
            encoding_plugin="pylibjpeg",
            generate_instance_uid=False,
        )
        again.save_as(path)
        return
    program, *how = _PROGRAMS[syntax]
    keeps = ("+un",) if program in ("dcmcjpeg", "dcmcjpls") else ()
    subprocess.run(
        [require(program), *how, *keeps, *options, path, path], check=True, capture_output=True
    )


def combinations(folder: Path) -> Iterator[Sent]:
    for kind, (make, syntaxes) in IMAGES.items():
        for syntax in syntaxes:
            number = len(list(folder.iterdir()))
            ds = make()
            sent = Sent(
                kind,
                syntax,
                f"ORDER-{number:03}",
                str(ds.SOPInstanceUID),
                folder / f"{number:03}.dcm",
            )
            ds.PatientID, ds.PatientName = f"P-{number:03}", "Test^Patient"
            ds.AccessionNumber = sent.accession
            options = ("+s2",) if "422" in kind else ()
            encoded(ds, syntax, sent.path, options=options)
            yield sent


@pytest.fixture
def archive() -> Iterator[Orthanc]:
    with Orthanc() as running:
        yield running


@pytest.fixture
def router() -> Iterator[Orthanc]:
    """An archive that sends."""
    with Orthanc(title="ROUTER") as running:
        yield running


@pytest.fixture
def port(settings: Settings, tmp_path: Path, archive: Orthanc) -> Iterator[int]:
    """The Listener's port; the archive is the destination."""
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    Peer.objects.create(
        title=archive.title, host=archive.host, port=archive.port, is_destination=True
    )
    for title in ("DCMTK", "PIXELMED", "DCMJS", "ROUTER"):
        Peer.objects.create(title=title, is_sender=True)
    with StorageSCP(
        CALLED,
        "127.0.0.1",
        0,
        admit=lambda caller: ingest.admit(caller, title=CALLED),
        on_instance=ingest.receive,
        on_association=ingest.record,
        incoming_folder=spool.incoming(),
    ) as listener:
        yield listener.port
    network.model_version.cache_clear()


def _turns(everything: list[Sent]) -> Iterator[int]:
    """Whose turn it is: the first three share each kind's encodings, the last gets one of each.

    Each kind begins with another sender, so that none is left with the same encodings.
    """
    kinds = list(dict.fromkeys(sent.kind for sent in everything))
    for place, kind in enumerate(kinds):
        count = sum(sent.kind == kind for sent in everything)
        for number in range(count):
            yield 3 if number == place % count else (number + place) % 3


def test_every_object_in_every_encoding_from_every_sender_ends_as_two_reports(
    port: int, archive: Orthanc, router: Orthanc, tmp_path: Path
) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    everything = list(combinations(folder))
    senders: list[tuple[str, Send]] = [
        ("DCMTK", dcmtk_sends),
        ("DCMJS", dcmjs_sends),
        ("ROUTER", orthanc_sends(router)),
        ("PIXELMED", pixelmed_sends),
    ]
    turns = list(_turns(everything))
    for place, (_, send) in enumerate(senders):
        send([s.path for s, turn in zip(everything, turns, strict=True) if turn == place], port)
    pipeline.analyse_waiting()
    pipeline.report_waiting()

    rows = {row.sop_instance_uid: row for row in Instance.objects.all()}
    assert len(rows) == len(everything)
    for sent, turn in zip(everything, turns, strict=True):
        row = rows[sent.sop_instance_uid]
        what = f"{sent.kind} in {contexts.TRANSFER_SYNTAXES[sent.syntax]}"
        assert row.state == State.DELIVERED, f"{what}: {row.state} {row.reason} {row.last_error}"
        assert row.calling_title == senders[turn][0]
        found = archive.sop_classes(accession_number=sent.accession)
        assert sorted(found) == [
            "1.2.840.10008.5.1.4.1.1.88.11",
            "1.2.840.10008.5.1.4.1.1.88.33",
        ], what


def test_a_lossless_encoding_changes_no_pixel(tmp_path: Path) -> None:
    for kind, (make, syntaxes) in IMAGES.items():
        digests = set()
        for syntax in syntaxes:
            if syntax not in LOSSLESS:
                continue
            path = tmp_path / "one.dcm"
            encoded(make(), syntax, path)
            with StoredImage(path) as image:
                raster = image.read(image.frame_count - 1)
            digests.add(hashlib.sha256(raster.tobytes()).hexdigest())
        assert len(digests) == (1 if any(s in LOSSLESS for s in syntaxes) else 0), kind
