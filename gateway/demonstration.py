"""What the demo needs beside the gateway: two pictures, and an archive to send the reports to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from dicom_node.capture import secondary_capture
from dicom_node.contexts import REPORT_CLASSES, VERIFICATION
from dicom_node.entity import ApplicationEntity
from models.corpus import draw_page, simulate

SENDER = "DEMOCART"
ARCHIVE = "DEMOARCHIVE"


@dataclass(frozen=True)
class Picture:
    """An ECG picture as a Secondary Capture object, and what it shows."""

    title: str
    ds: Dataset


def pictures() -> Iterator[Picture]:
    """Yield a real recording drawn as paper, and a simulated abnormal one."""
    signal_uv, rate_hz = bundled_recording()
    yield _picture(
        "recording: the real 12-lead ECG in pydicom's wheel, drawn as paper",
        draw_page(signal_uv, rate_hz, "3x4+1", "pink", 1),
        patient="DEMO-1",
        name="Recording^Real",
    )
    yield _picture(
        "simulated: a synthetic 12-lead ECG with atrial fibrillation",
        draw_page(simulate("af", 7), 250.0, "6x2", "orange", 2),
        patient="DEMO-2",
        name="Simulated^Rhythm",
    )


def bundled_recording() -> tuple[npt.NDArray[np.float64], float]:
    """Return the 12-lead recording of pydicom's wheel: (12, n) microvolt, and its rate in Hz."""
    path = get_testdata_file("waveform_ecg.dcm")
    if not isinstance(path, str):
        raise FileNotFoundError("expected waveform_ecg.dcm in pydicom's wheel, found none")
    ds = dcmread(path)
    return ds.waveform_array(0).T, float(ds.WaveformSequence[0].SamplingFrequency)


def _picture(title: str, raster: npt.NDArray[np.uint8], *, patient: str, name: str) -> Picture:
    ds = secondary_capture(
        raster,
        patient_id=patient,
        patient_name=name,
        accession_number=f"{patient}-{generate_uid(prefix=None)[-6:]}",
        study_description="12-lead ECG (demonstration)",
    )
    return Picture(title, ds)


class Archive:
    """A stand-in archive: a second Storage SCP that keeps every report in a folder.

    It is plain pynetdicom, not our own Storage SCP, so that the reports meet a stranger.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ae = AE(ARCHIVE)
        ae.supported_contexts = [build_context(uid) for uid in (*REPORT_CLASSES, VERIFICATION)]
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)]
        )

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def entity(self) -> ApplicationEntity:
        """Where this archive listens."""
        return ApplicationEntity(ARCHIVE, "127.0.0.1", self._server.server_address[1])

    def stored(self) -> dict[str, Path]:
        """Return the stored reports, file by SOP Instance UID."""
        return {path.stem: path for path in self._folder.glob("*.dcm")}

    def _keep(self, event: evt.Event) -> int:
        part = self._folder / f"{event.assoc.native_id}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(self._folder / f"{UID(event.request.AffectedSOPInstanceUID)}.dcm")
        return 0x0000
