"""What the demo needs beside the gateway: pictures, an archive to send the reports to, a network.

The network that ships reads simulated ECGs nearly without fault: there would be nothing to teach it
in the demo. So the demo begins with one whose answer about one finding was taken away, which a
person gives back by labels. It is what its name and card say, and serves nowhere else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

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
from models.artifact import CARD, PAGE, SUMS, Artifact, default_artifact, file_sha256
from models.corpus import draw_page, simulate
from models.corpus.styles import STYLES
from models.labels import KEYS, LABELS

SENDER = "DEMOCART"
ARCHIVE = "DEMOARCHIVE"

TO_READ: Final = 24
UNLEARNED: Final = "clbbb"
"""The finding that the demo's network says nothing about."""

LABELLED: Final = {"test": 11, "training": 8, "validation": 4}
"""So many ECGs of each split show the finding, and as many a normal heart: a network is judged on
ten of each and more."""

_PAPER: Final = (("3x4+1", "pink"), ("6x2", "orange"), ("3x4+1", "grey"))


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
        # Simulated fibrillation is not quite what hearts do; this one the network reads as such.
        draw_page(simulate("af", 4), 250.0, "6x2", "orange", 2),
        patient="DEMO-2",
        name="Simulated^Rhythm",
    )


def to_read() -> Iterator[Picture]:
    """Yield simulated ECGs of every finding for people to read."""
    for number in range(TO_READ):
        yield _simulated(
            KEYS[number % len(KEYS)], f"DEMO-R{number + 1:02d}", 300 + number, has_header=False
        )


def labelled(split_of: Callable[[str], str]) -> Iterator[tuple[Picture, str]]:
    """Yield simulated ECGs with the key of what they show.

    Parameters
    ----------
    split_of
        Says in which split the patient of an ID is. Chance would often leave a split of so few
        ECGs empty; the patients are chosen so that each has enough.
    """
    wanted = {split: [key for key in (UNLEARNED, "normal") for _ in range(count)]
              for split, count in LABELLED.items()}  # fmt: skip
    number = 0
    while any(wanted.values()):
        number += 1
        patient = f"DEMO-L{number:03d}"
        left = wanted[split_of(patient)]
        if left:
            key = left.pop()
            yield _simulated(key, patient, 400 + number), key


def _simulated(key: str, patient: str, seed: int, *, has_header: bool = True) -> Picture:
    """Return a simulated ECG; its header is invented, diagnosis included, so readers get none."""
    layout, name = _PAPER[seed % len(_PAPER)]
    style = replace(STYLES[name], header=has_header)
    return _picture(
        f"simulated: {key}",
        draw_page(simulate(key, seed), 250.0, layout, style, seed),
        patient=patient,
        name=f"Simulated^{patient}",
    )


def network(folder: Path) -> Artifact:
    """Return the demo's network, written into a folder if it is not there.

    It is the one that ships, but gives each ECG the same low probability of one finding.
    """
    shipped = Artifact.load(default_artifact())
    home = folder / f"{shipped.card.name}-demo-{shipped.card.version}"
    if not home.is_dir():
        draft = home.with_name(f".{home.name}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(shipped.folder, draft)
        _unlearn(Artifact.load(draft))
        draft.rename(home)
    return Artifact.load(home).verify()


def _unlearn(artifact: Artifact) -> None:
    card = artifact.card
    meaning = next(label.meaning for label in LABELS if label.key == UNLEARNED)
    note = f"For the demo: {card.name} {card.version} without its answer about {meaning.lower()}."
    own = card.calibration
    test = {key: value for key, value in card.metrics["test"].items() if key != UNLEARNED}
    mute = replace(
        card,
        name=f"{card.name}-demo",
        calibration=replace(
            own,
            scale={**own.scale, UNLEARNED: 0.0},
            shift={**own.shift, UNLEARNED: -6.0},
        ),
        validated={**card.validated, UNLEARNED: False},
        metrics={"test": test},
        training={**card.training, "note": note},
    )
    folder = artifact.folder
    names = [line.split()[1].lstrip("*") for line in (folder / SUMS).read_text().splitlines()]
    (folder / CARD).write_text(json.dumps(mute.as_dict(), indent=2) + "\n")
    (folder / PAGE).write_text(f"# {mute.name} {mute.version}\n\n{note}\n")
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums)


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
