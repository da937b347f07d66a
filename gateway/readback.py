"""Whether a Peer has a report: asked by QIDO-RS, or by C-FIND at the level of images.

For Peers that know no Storage Commitment. Found is a weaker word than a commitment, and stronger
than the Success of a C-STORE: it is in the archive's index.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from django.conf import settings
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.errors import DicomError
from dicom_node.query import find
from gateway import peers, spool
from gateway.models import Dispatch, Peer, Report
from gateway.models.peers import Proof

_KEYS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_SOP_INSTANCE_UID: Final = "00080018"
_MAX_MATCHES: Final = 100
_MAX_ANSWER_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 64 << 10


class NotAnswered(DicomError):
    """The archive's web service gave no answer that says whether it has the object."""

    retryable = True


def means_of(peer: Peer) -> Dispatch.Means | None:
    """Return how `peer` can be looked into; None when it cannot."""
    if peer.qido_url:
        return Dispatch.Means.QIDO
    if peer.is_archive or peer.proof == Proof.QUERY:
        return Dispatch.Means.QUERY
    return None


def holds(peer: Peer, report: Report) -> bool:
    """Ask `peer` whether it has `report`.

    Raises
    ------
    DicomError
        It did not say; ``retryable`` tells whether it may later.
    OSError
        The report's own file, which names its study and series, cannot be read.
    """
    keys = _keys(report)
    if peer.qido_url:
        return _holds_by_qido(peer.qido_url, keys)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    wait_s = settings.ECG_DICOM_TIMEOUT_S
    found = find(
        peer.entity,
        identifier,
        calling_title=settings.ECG_AE_TITLE,
        timeouts=peers.timeouts(),
        limit=_MAX_MATCHES,
        total_s=wait_s,
    )
    # An archive that takes a key for nothing answers with all it has: only the UID itself counts.
    return report.sop_instance_uid in [str(one.get("SOPInstanceUID", "")) for one in found]


def _keys(report: Report) -> dict[str, str]:
    path = spool.locate(report.spool_name)
    ds = dcmread(path, specific_tags=list(_KEYS), stop_before_pixels=True)
    return {keyword: str(ds[keyword].value) for keyword in _KEYS}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER: Final = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    _NoRedirect,
):
    _OPENER.add_handler(_handler())


def _holds_by_qido(address: str, keys: dict[str, str]) -> bool:
    # All instances, with the study as a key: a study it does not know is an empty answer then,
    # and 404 says that the address is wrong (PS3.18 section 10.6).
    url = f"{address.rstrip('/')}/instances?{urllib.parse.urlencode(keys)}"
    request = urllib.request.Request(  # noqa: S310 (the opener speaks http and https alone)
        url, headers={"Accept": "application/dicom+json"}
    )
    until = time.monotonic() + settings.ECG_DICOM_TIMEOUT_S
    try:
        with _OPENER.open(request, timeout=settings.ECG_DICOM_TIMEOUT_S) as answer:
            if answer.status == http.client.NO_CONTENT:
                return False
            body = _read(answer, until)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotAnswered(f"QIDO-RS: the service answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotAnswered(f"QIDO-RS: no answer ({type(error).__name__})") from error
    try:
        rows = json.loads(body)
        uids = [row.get(_SOP_INSTANCE_UID, {}).get("Value", []) for row in rows]
    except (ValueError, AttributeError, TypeError) as error:
        raise NotAnswered(
            "QIDO-RS: expected a list of DICOM JSON, received another body"
        ) from error
    return any(keys["SOPInstanceUID"] in values for values in uids)


def _read(answer: Any, until: float) -> bytes:
    """Read a bounded body in bounded time."""
    body = b""
    while chunk := answer.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise NotAnswered(f"QIDO-RS: expected at most {_MAX_ANSWER_BYTES} bytes of answer")
        if time.monotonic() > until:
            raise NotAnswered("QIDO-RS: the answer took too long")
    return body
