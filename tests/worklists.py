"""A real worklist: DCMTK's wlmscpfs, which serves the files of a folder."""

from __future__ import annotations

from pathlib import Path

from programs import Program, free_port, is_listening, require
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from resident import LOOPBACK, Resident


def scheduled(
    *,
    patient_id: str,
    patient_name: str = "Test^Patient",
    accession: str = "",
    birth_date: str = "19570809",
    sex: str = "F",
    study_uid: str = "",
    procedure: str = "Resting 12-lead ECG",
    step: str = "SPS-1",
    modality: str = "ECG",
    character_set: str = "ISO_IR 192",
) -> Dataset:
    """Return a worklist item with what wlmscpfs and our queries ask for."""
    item = Dataset()
    item.SpecificCharacterSet = character_set
    item.PatientName, item.PatientID = patient_name, patient_id
    item.PatientBirthDate, item.PatientSex = birth_date, sex
    item.AccessionNumber = accession
    item.ReferringPhysicianName = "Referrer^Rita"
    item.StudyInstanceUID = study_uid or generate_uid()
    item.RequestedProcedureID = f"RP-{accession or patient_id}"[:16]
    item.RequestedProcedureDescription = procedure
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "ECG12", "99HOSPITAL"
    code.CodeMeaning = procedure
    item.RequestedProcedureCodeSequence = Sequence([code])
    due = Dataset()
    due.Modality = modality
    due.ScheduledStationAETitle = "CART"
    due.ScheduledProcedureStepStartDate = "20261124"
    due.ScheduledProcedureStepStartTime = "0800"
    due.ScheduledPerformingPhysicianName = ""
    due.ScheduledProcedureStepDescription = "ECG at rest"
    due.ScheduledProcedureStepID = step
    item.ScheduledProcedureStepSequence = Sequence([due])
    return item


class Worklist(Resident):
    """DCMTK's wlmscpfs on a free port."""

    def __init__(self, *items: Dataset, title: str = "WORKLIST") -> None:
        super().__init__("worklist")
        self.title = title
        self.host = LOOPBACK
        self.port = free_port()
        self._items = self.folder / "lists" / title
        self._items.mkdir(parents=True)
        (self._items / "lockfile").touch()
        self._count = 0
        for item in items:
            self.add(item)
        self._program = Program(
            [require("wlmscpfs"), "-v", "-dfp", self.folder / "lists", str(self.port)],
            folder=self.folder,
            name="wlmscpfs",
        )

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port, as an ApplicationEntity and ``peer add`` take them."""
        return self.title, self.host, self.port

    def add(self, item: Dataset) -> Path:
        """Schedule one more."""
        self._count += 1
        path = self._items / f"item{self._count}.wl"
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        item.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        item.save_as(path, enforce_file_format=True)
        return path

    def clear(self) -> None:
        """Take everything off the list."""
        for path in self._items.glob("*.wl"):
            path.unlink()

    def start(self) -> None:
        """Start it and wait for its port."""
        self._program.start(ready=lambda: is_listening(self.port))

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()

    def log(self) -> str:
        """Return the end of its log."""
        return self._program.log()
