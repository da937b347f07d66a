"""Queries to real archives and worklists, and to peers that never stop, answer or make sense."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import Orthanc, eventually
from pydicom import Dataset
from pynetdicom import AE, evt
from worklists import Worklist, scheduled

from dicom_node import contexts, scu
from dicom_node.capture import secondary_capture
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import (
    AnswerNotUnderstood,
    AssociationAborted,
    Cancelled,
    NoAcceptedContext,
    PeerTimeout,
    PeerUnreachable,
    QueryFailed,
    QueryRefused,
    TooManyMatches,
)
from dicom_node.order import Order
from dicom_node.scu import Timeouts

SHORT = Timeouts(connect_s=2.0, association_s=2.0, response_s=1.0, network_s=2.0)


def study_query(**keys: str) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = "STUDY"
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID"):
        setattr(ds, keyword, keys.pop(keyword, ""))
    ds.ModalitiesInStudy = ""
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def worklist_query(**keys: str) -> Dataset:
    ds = scheduled(patient_id="")
    for element in ds.iterall():
        if element.VR != "SQ":
            element.value = None
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def ask(peer: Any, ds: Dataset, **options: Any) -> list[Dataset]:
    entity = peer if isinstance(peer, ApplicationEntity) else ApplicationEntity(*peer.entity_args)
    return list(scu.find(entity, ds, calling_title="GATEWAY", timeouts=SHORT, **options))


# --- a real archive ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unicode_archive() -> Iterator[Orthanc]:
    """Run an archive whose answers hold every character; by its own default they are Latin-1."""
    with Orthanc(DefaultEncoding="Utf8") as archive:
        yield archive


@pytest.fixture
def orthanc(unicode_archive: Orthanc) -> Orthanc:
    unicode_archive.clear()
    return unicode_archive


def put(archive: Orthanc, folder: Path, name: str, character_set: str, **values: Any) -> Dataset:
    ds = secondary_capture(
        np.zeros((4, 4), np.uint8), patient_id=values.pop("patient_id", "P-1"), **values
    )
    ds.SpecificCharacterSet = character_set
    ds.PatientName = name
    ds.save_as(folder / "ecg.dcm", enforce_file_format=True)
    archive.upload(folder / "ecg.dcm")
    return ds


def test_an_archive_is_searched_and_its_answers_are_decoded(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    one = put(orthanc, tmp_path, "Okafor^Ngozi", "ISO_IR 100", accession_number="A-1")
    put(orthanc, tmp_path, "Other^One", "ISO_IR 100", accession_number="B-1")
    (found,) = ask(orthanc, study_query(AccessionNumber="A*"))
    assert (str(found.PatientName), found.StudyInstanceUID) == (
        "Okafor^Ngozi",
        one.StudyInstanceUID,
    )
    assert ask(orthanc, study_query(AccessionNumber="nothing")) == []


@pytest.mark.parametrize("character_set", ["GB18030", "GBK", "ISO_IR 192", "\\ISO 2022 IR 58"])
def test_a_chinese_name_is_found_by_its_characters_and_read_right(
    character_set: str, orthanc: Orthanc, tmp_path: Path
) -> None:
    put(orthanc, tmp_path, "Zhang^San=张^三", character_set)
    (found,) = ask(orthanc, study_query(PatientName="*张*"))
    assert str(found.PatientName) == "Zhang^San=张^三"
    assert ask(orthanc, study_query(PatientName="*李*")) == []


def test_closing_the_answers_early_cancels_and_leaves_the_archive_answering(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    for number in range(3):
        put(orthanc, tmp_path, "Many^Of", "ISO_IR 100", patient_id=f"P{number}")
    answers = scu.find(
        ApplicationEntity(*orthanc.entity_args), study_query(), calling_title="GATEWAY"
    )
    assert isinstance(next(answers), Dataset)
    answers.close()  # type: ignore[attr-defined]
    assert len(ask(orthanc, study_query())) == 3
    eventually(lambda: not [t for t in threading.enumerate() if "Requestor" in t.name])


# --- a real worklist -----------------------------------------------------------------------------


def test_a_worklist_says_who_the_patient_is_and_what_was_ordered() -> None:
    item = scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7")
    with Worklist(item, scheduled(patient_id="P-8", accession="ACC-8")) as worklist:
        (found,) = ask(
            worklist, worklist_query(AccessionNumber="ACC-7"), model=contexts.WORKLIST_FIND
        )
        order = Order.from_worklist(found)
        assert order == Order.from_values(order.as_values())
        assert (order.patient_id, order.patient_name) == ("P-7", "Li^Na=李^娜")
        assert (order.patient_birth_date, order.patient_sex) == ("19570809", "F")
        assert order.study_instance_uid == item.StudyInstanceUID
        assert order.requested_procedure_description == "Resting 12-lead ECG"
        assert order.requested_procedure_code is not None
        assert order.scheduled_step_id == "SPS-1"
        assert len(ask(worklist, worklist_query(), model=contexts.WORKLIST_FIND)) == 2


# --- peers that misbehave ------------------------------------------------------------------------


@contextmanager
def archive(answer: Any) -> Iterator[ApplicationEntity]:
    """Run an archive that answers C-FIND as told."""
    ae = AE("ARCHIVE")
    ae.add_supported_context(contexts.STUDY_ROOT_FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    try:
        yield ApplicationEntity("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        eventually(lambda: not ae.active_associations)


def match(number: int = 1) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyInstanceUID = f"1.2.{number}"
    return ds


def test_endless_answers_are_cancelled_at_the_limit_and_the_peer_hears_of_it() -> None:
    heard = threading.Event()

    def endless(event: Any) -> Iterator[Any]:
        number = 0
        while not event.is_cancelled:
            number += 1
            yield 0xFF00, match(number)
        heard.set()
        yield 0xFE00, None

    with archive(endless) as peer, pytest.raises(TooManyMatches):
        ask(peer, study_query(), limit=50)
    assert heard.wait(5)


def test_endless_answers_to_one_who_reads_slowly_do_not_pile_up() -> None:
    def endless(event: Any) -> Iterator[Any]:
        while not event.is_cancelled:
            yield 0xFF00, match()
        yield 0xFE00, None

    began = time.monotonic()
    with archive(endless) as peer, pytest.raises(PeerTimeout, match="end in time"):
        ask(peer, study_query(), limit=10**9, total_s=1.0)
    assert time.monotonic() - began < 10


def test_a_peer_that_never_answers_is_left_in_time() -> None:
    released = threading.Event()

    def silent(_event: Any) -> Iterator[Any]:
        released.wait(20)
        yield 0x0000, None

    began = time.monotonic()
    with archive(silent) as peer:
        with pytest.raises(PeerTimeout):
            ask(peer, study_query())
        assert time.monotonic() - began < 5
        released.set()


def test_who_is_told_to_stop_stops_and_cancels() -> None:
    stop = threading.Event()
    heard = threading.Event()

    def endless(event: Any) -> Iterator[Any]:
        yield 0xFF00, match()
        while not event.is_cancelled:
            time.sleep(0.01)
            yield 0xFF00, match()
        heard.set()
        yield 0xFE00, None

    with archive(endless) as peer:
        answers = scu.find(peer, study_query(), calling_title="GATEWAY", timeouts=SHORT, stop=stop)
        next(answers)
        stop.set()
        with pytest.raises(Cancelled):
            list(answers)
    assert heard.wait(5)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (0xA700, QueryFailed, True),
        (0xC001, QueryFailed, True),
        (0xA900, QueryRefused, False),
        (0x0122, QueryRefused, False),
    ],
)
def test_a_failure_says_whether_trying_again_can_help(
    status: int, kind: type[QueryRefused], retryable: bool
) -> None:
    def refuse(_event: Any) -> Iterator[Any]:
        yield status, None

    with archive(refuse) as peer, pytest.raises(QueryRefused) as caught:
        ask(peer, study_query())
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert caught.value.status == status


def test_a_peer_that_hangs_up_in_the_middle_is_an_abort() -> None:
    def hang_up(event: Any) -> Iterator[Any]:
        yield 0xFF00, match()
        event.assoc.abort()
        yield 0xFF00, match()

    with archive(hang_up) as peer, pytest.raises(AssociationAborted):
        ask(peer, study_query())


@pytest.mark.parametrize(
    "identifier",
    [
        b"\xff" * 40,
        b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR",
        b"\x40\x00\x00\x01\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"",
    ],
)
def test_an_identifier_that_is_none_is_an_error_and_no_match(identifier: bytes) -> None:
    def garble(event: Any) -> Iterator[Any]:
        import io

        from pynetdicom.dimse_primitives import C_FIND

        answer = C_FIND()
        answer.MessageIDBeingRespondedTo = event.request.MessageID
        answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
        answer.Status = 0xFF00
        answer.Identifier = io.BytesIO(identifier)
        event.assoc.dimse.send_msg(answer, event.context.context_id)
        yield 0x0000, None

    with archive(garble) as peer, pytest.raises(AnswerNotUnderstood):
        ask(peer, study_query())


def test_an_endless_identifier_meets_its_limit() -> None:
    def flood(event: Any) -> Iterator[Any]:
        ds = match()
        ds.StudyDescription = "x"
        ds.add_new(0x00091001, "UN", b"y" * (3 << 20))
        yield 0xFF00, ds

    with archive(flood) as peer, pytest.raises(AnswerNotUnderstood, match="longer than"):
        ask(peer, study_query())


def test_a_peer_that_is_not_there_or_does_not_query_says_so(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable):
        ask(ApplicationEntity("NOBODY", "127.0.0.1", 1), study_query())
    with (
        archive(lambda _event: iter(())) as peer,
        pytest.raises(NoAcceptedContext),
    ):
        ask(peer, study_query(), model=contexts.WORKLIST_FIND)
