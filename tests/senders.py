"""Programs that send DICOM objects and share no code with ours or with each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from archives import Orthanc
from dcmtk import storescu
from programs import require
from pydicom import dcmread
from resident import LOOPBACK

Send = Callable[[Sequence[Path], int], None]
CALLED: Final = "ECGGATEWAY"

_NODE = Path(__file__).with_name("node")
_PIXELMED = "/usr/share/java/pixelmed.jar"

# How storescu is told to propose the encoding of a file.
_PROPOSALS: Final = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-x=",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}


def dcmtk_sends(paths: Sequence[Path], port: int) -> None:
    """DCMTK (C++): an association for the files of each encoding."""
    for syntax, files in _by_syntax(paths):
        done = storescu(*files, port=port, calling="DCMTK", options=(_PROPOSALS[syntax],))
        taken = done.output.count("Received Store Response (Success)")
        assert (done.returncode, taken) == (0, len(files)), done.output


def pixelmed_sends(paths: Sequence[Path], port: int) -> None:
    """PixelMed (Java): an association for each file; of several it mixes up the encodings."""
    for path in paths:
        program = ("-cp", _PIXELMED, "com.pixelmed.network.StorageSOPClassSCU")
        _run([require("java"), *program, LOOPBACK, str(port), CALLED, "PIXELMED", path, "0"])


def dcmjs_sends(paths: Sequence[Path], port: int) -> None:
    """dcmjs-dimse (JavaScript): an association for the files of each encoding."""
    if not (_NODE / "node_modules" / "dcmjs-dimse").is_dir():
        pytest.fail("expected dcmjs-dimse in tests/node/node_modules; `make test` installs it")
    node = Path(sys.executable).with_name("node")
    for _, files in _by_syntax(paths):
        said = _run([node, _NODE / "send.js", LOOPBACK, str(port), "DCMJS", CALLED, *files])
        assert said.count("0x0 ") == len(files), said


def orthanc_sends(archive: Orthanc) -> Send:
    """Orthanc: what it stores, routed on as an archive does."""

    def send(paths: Sequence[Path], port: int) -> None:
        archive.introduce(CALLED, LOOPBACK, port)
        stored = [archive.upload(path) for path in paths]
        body = json.dumps({"Resources": stored, "Synchronous": True}).encode()
        answer = json.loads(
            archive.request(f"/modalities/{CALLED}/store", method="POST", body=body)
        )
        assert answer["FailedInstancesCount"] == 0, answer

    return send


def _by_syntax(paths: Sequence[Path]) -> Iterable[tuple[str, list[Path]]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True).file_meta
        found.setdefault(str(meta.TransferSyntaxUID), []).append(path)
    return found.items()


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
