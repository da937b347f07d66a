"""What an archive has of a day's ECGs, and how one of them is brought.

The search goes from study to series to instance (PS3.4 section C.6.2), because only an instance
says what it is: an ECG lies in a study of its own or beside a hundred CT slices. What is here, and
what we made ourselves, is not asked for.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from pydicom.dataset import Dataset

from dicom_node.contexts import STORAGE_CLASSES
from dicom_node.errors import AssociationAborted, DicomError, NoAcceptedContext, QueryRefused
from dicom_node.query import find
from dicom_node.retrieve import RetrieveOutcome, get, move
from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from dicom_node.timeouts import Timeouts
from gateway import keeping, leases, peers, spool
from gateway.models import Door, Instance, Peer, Report

log = structlog.get_logger(__name__)

Way = Literal["get", "move"]

ANY_MODALITY: Final = "ANY"
# An archive may have to fetch from a slow store before it says anything.
_PATIENCE_S: Final = 120.0
_ARRIVAL_S: Final = 10.0
_POLL_S: Final = 0.1
_KNOWN_AT_ONCE: Final = 200
# The archive does not serve this (PS3.7 Annex C): no such class, no such operation.
_NOT_SERVED: Final = frozenset({0x0122, 0x0211})


class NotBrought(DicomError):
    """The archive answered, and the object is not here."""


@dataclass(frozen=True)
class Candidate:
    """One instance of an archive that may be an ECG. The class is empty where nobody said it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True)
class Day:
    """What an archive has of one day.

    Attributes
    ----------
    wanted
        What would come, in the order of the archive's answers.
    here_count
        How many of that kind are here already.
    begun
        The studies those belong to.
    left_out
        Modalities that were not looked into, and in how many studies.
    """

    date: datetime.date
    wanted: tuple[Candidate, ...]
    here_count: int
    begun: frozenset[str]
    left_out: Mapping[str, int]

    @property
    def studies_count(self) -> int:
        """In how many studies they are."""
        return len({one.study_instance_uid for one in self.wanted})


class Archive:
    """A Peer that answers queries.

    Parameters
    ----------
    modalities
        Of the series that are looked into; ``ANY`` among them for all.
    way
        ``None``: C-GET, and C-MOVE from the moment the archive shows that it has no C-GET.
    stop
        Once set, whatever is under way is cancelled.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        modalities: Collection[str],
        way: Way | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.peer = peer
        self._modalities = frozenset(modalities)
        self._way: Way | None = way
        self._stop = stop
        limits = peers.timeouts()
        self._timeouts: Timeouts = replace(limits, response_s=max(limits.response_s, _PATIENCE_S))

    # --- looking -------------------------------------------------------------------------------

    def day(self, date: datetime.date) -> Day:
        """Look for the ECGs of one day.

        Raises
        ------
        DicomError
            The archive did not answer in full: what it has is not known then.
        """
        left_out: Counter[str] = Counter()
        seen = list(self._candidates(date, left_out))
        known = _known({one.sop_instance_uid for one in seen})
        wanted = {
            one.sop_instance_uid: one for one in seen if one.sop_instance_uid not in known.ours
        }
        fresh = tuple(one for uid, one in wanted.items() if uid not in known.here)
        begun = {one.study_instance_uid for uid, one in wanted.items() if uid in known.here}
        return Day(date, fresh, len(wanted) - len(fresh), frozenset(begun), left_out)

    def _candidates(self, date: datetime.date, left_out: Counter[str]) -> Iterator[Candidate]:
        day = f"{date:%Y%m%d}"
        studies = self._find("STUDY", StudyDate=day, StudyInstanceUID="", ModalitiesInStudy="")
        for study in studies:
            study_uid = _text(study, "StudyInstanceUID")
            held = _texts(study, "ModalitiesInStudy")
            if not study_uid:
                continue
            if held and not any(map(self._may_hold, held)):
                left_out.update(set(held))
                continue
            series = self._find(
                "SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="", Modality=""
            )
            passed = set()
            for one in series:
                series_uid, modality = _text(one, "SeriesInstanceUID"), _text(one, "Modality")
                if not self._may_hold(modality):
                    passed.add(modality)
                elif series_uid:
                    yield from self._instances(study_uid, series_uid)
            left_out.update(passed)

    def _instances(self, study_uid: str, series_uid: str) -> Iterator[Candidate]:
        found = self._find(
            "IMAGE",
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=series_uid,
            SOPInstanceUID="",
            SOPClassUID="",
        )
        for one in found:
            uid, sop_class = _text(one, "SOPInstanceUID"), _text(one, "SOPClassUID")
            if uid and (not sop_class or sop_class in STORAGE_CLASSES):
                yield Candidate(study_uid, series_uid, uid, sop_class)

    def _may_hold(self, modality: str) -> bool:
        # A series without a modality may be anything.
        return not modality or bool(self._modalities & {modality, ANY_MODALITY})

    def _find(self, level: str, **keys: str) -> list[Dataset]:
        """Ask once. Nothing is yielded before all is here: the association is not held open."""
        return list(
            find(
                self.peer.entity,
                _identifier(level, **keys),
                calling_title=settings.ECG_AE_TITLE,
                timeouts=self._timeouts,
                stop=self._stop,
            )
        )

    # --- bringing ------------------------------------------------------------------------------

    def bring(self, one: Candidate) -> bool:
        """Bring one instance into the spool, as if it had been sent; return whether it is new.

        Raises
        ------
        DicomError
            It is not here. ``retryable`` says whether asking again can help.
        DatabaseError, InterfaceError
            It came and could not be kept; it may be asked for again.
        """
        if self._way == "move":
            return self._move(one)
        try:
            is_new = self._get(one)
        except (NoAcceptedContext, QueryRefused, AssociationAborted) as error:
            if self._way == "get" or not _is_without_get(error):
                raise
        else:
            # It has C-GET, so an abort from now on is just an abort.
            self._way = "get"
            return is_new
        is_new = self._move(one)
        log.info("archive has no C-GET, C-MOVE is used", peer=self.peer.title)
        self._way = "move"
        return is_new

    def _get(self, one: Candidate) -> bool:
        arrived: list[keeping.Kept] = []
        database_faults: list[DatabaseError | InterfaceError] = []

        def take(received: ReceivedInstance) -> int:
            if received.sop_instance_uid != one.sop_instance_uid:
                return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
            try:
                arrived.append(keeping.keep(self._arrival(received)))
            except (DatabaseError, InterfaceError) as error:
                database_faults.append(error)
                return Status.OUT_OF_RESOURCES
            except (OSError, keeping.NotToldApart) as error:
                log.error("object not kept", uid=received.sop_instance_uid, error=repr(error))
                return Status.OUT_OF_RESOURCES
            finally:
                received.path.unlink(missing_ok=True)
            return Status.SUCCESS

        outcome = get(
            self.peer.entity,
            _key_of(one),
            calling_title=settings.ECG_AE_TITLE,
            incoming_folder=spool.incoming(),
            on_instance=take,
            sop_classes=[one.sop_class_uid] if one.sop_class_uid else tuple(STORAGE_CLASSES),
            timeouts=self._timeouts,
            stop=self._stop,
        )
        if database_faults:
            raise database_faults[0]
        if not arrived:
            raise NotBrought(_why(outcome))
        return arrived[0].is_new

    def _arrival(self, received: ReceivedInstance) -> keeping.Arrival:
        return keeping.Arrival(
            path=received.path,
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            sha256=received.sha256_dataset,
            sender=self.peer.title,
            door=Door.BACKFILL,
            actor=leases.actor("backfill"),
        )

    def _move(self, one: Candidate) -> bool:
        outcome = move(
            self.peer.entity,
            _key_of(one),
            destination=settings.ECG_AE_TITLE,
            calling_title=settings.ECG_AE_TITLE,
            timeouts=self._timeouts,
            stop=self._stop,
        )
        rows = Instance.objects.filter(sop_instance_uid=one.sop_instance_uid)
        until = time.monotonic() + _ARRIVAL_S
        while not rows.exists():
            # Our Listener commits before it answers; an archive may answer before it has sent.
            if time.monotonic() > until or outcome.status != Status.SUCCESS:
                raise NotBrought(
                    f"{_why(outcome)}; does the archive know {settings.ECG_AE_TITLE} at our "
                    "address, and is it a Peer that may send?"
                )
            time.sleep(_POLL_S)
        rows.filter(door=Door.STORE).update(door=Door.BACKFILL)
        return True


def _is_without_get(error: DicomError) -> bool:
    """Tell whether this is how an archive says that it serves no C-GET; Orthanc just aborts."""
    return not isinstance(error, QueryRefused) or error.status in _NOT_SERVED


@dataclass(frozen=True)
class _Known:
    here: frozenset[str]
    ours: frozenset[str]


def _known(uids: Collection[str]) -> _Known:
    """Tell which of these are here already, and which we made."""
    here: set[str] = set()
    ours: set[str] = set()
    every = list(uids)
    for start in range(0, len(every), _KNOWN_AT_ONCE):
        some = every[start : start + _KNOWN_AT_ONCE]
        for model, into in ((Instance, here), (Report, ours)):
            rows = model.objects.filter(sop_instance_uid__in=some)
            into.update(rows.values_list("sop_instance_uid", flat=True))
    return _Known(frozenset(here), frozenset(ours))


def _identifier(level: str, **keys: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def _key_of(one: Candidate) -> Dataset:
    return _identifier(
        "IMAGE",
        StudyInstanceUID=one.study_instance_uid,
        SeriesInstanceUID=one.series_instance_uid,
        SOPInstanceUID=one.sop_instance_uid,
    )


def _why(outcome: RetrieveOutcome) -> str:
    return (
        f"the archive ended with 0x{outcome.status:04X} and {outcome.failed or 0} failed, "
        "the object did not come"
    )


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).strip()


def _texts(ds: Dataset, keyword: str) -> list[str]:
    value = ds.get(keyword)
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(one).strip() for one in values if str(one).strip()]
