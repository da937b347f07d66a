"""Corpora of simulated ECGs in the form of the real one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.corpus.simulate import simulate

_CLASSES = {"normal": "SR", "af": "AFIB", "clbbb": "CLBBB", "pvc": "PVC"}
_COLUMNS = (
    "record_id,dataset,age_years,sex,patient_id,source_codes,classes,normal_statement,"
    "bbb_completeness_unspecified,licence,artefact,source_seconds,source_rate_hz,"
    "restored,amplitudes_recovered"
)


def small_corpus(folder: Path, ecgs: Mapping[int, str]) -> Path:
    """Write a corpus and return its folder: patient number -> the finding of the one ECG."""
    waveforms = folder / "waveforms"
    waveforms.mkdir(parents=True, exist_ok=True)
    lines = [_COLUMNS]
    for number, key in ecgs.items():
        normal = int(key == "normal")
        lines.append(f"R{number},TEST,,,P{number},,{_CLASSES[key]},{normal},0,,0,10,250,0,12")
    (waveforms / "records.csv").write_text("\n".join(lines) + "\n")
    signals = np.stack([simulate(key, number) for number, key in ecgs.items()])
    names = np.array([f"R{number}" for number in ecgs])
    for source in ("ptbxl", "ptbxl_restored", "cinc2020_2021"):
        mine = slice(None) if source == "ptbxl" else slice(0)
        np.savez(waveforms / f"{source}.npz", signal_uv=signals[mine], record_id=names[mine])
    return folder
