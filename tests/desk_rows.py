"""A hospital morning for the Desk: rows of every state over real DICOM files in the spool."""

from __future__ import annotations

import datetime
import functools
import io
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils import timezone
from pydicom import Dataset

from dicom_node.capture import secondary_capture
from dicom_node.status import judge
from gateway import alerts, sources, spool
from gateway.leases import append_transition
from gateway.models import (
    Alert,
    AlertRule,
    Association,
    Delivery,
    Dispatch,
    Finding,
    Instance,
    ModelVersion,
    Peer,
    Report,
    Rule,
    Study,
)
from gateway.routing import findings_of
from gateway.states import Event, State
from models.corpus import draw_page, simulate
from models.labels import KEYS

_numbers = itertools.count(1)

_THRESHOLD = dict.fromkeys(KEYS, 0.5) | {"af": 0.42, "pac": 0.61}
CARD: dict[str, Any] = {
    "name": "ecg-resnet",
    "version": "1.0.0",
    "calibration": {
        "threshold": _THRESHOLD,
        "undetermined_from": {key: value / 2 for key, value in _THRESHOLD.items()},
    },
    "validated": {key: key not in ("atrial_escape", "at", "preexcitation") for key in KEYS},
    "metrics": {
        "test": {
            "af": {
                "positives": 61,
                "auroc": 0.981,
                "auroc_interval": [0.966, 0.992],
                "sensitivity": 0.92,
                "specificity": 0.957,
            }
        }
    },
}
"""A card of the form that artifacts bring; its figures are invented."""


@functools.cache
def drawn(key: str = "normal", layout: str = "3x4+1", style: str = "pink", seed: int = 1) -> Any:
    """Return one simulated ECG drawn on paper."""
    return draw_page(simulate(key, seed), 250.0, layout, style, seed)


def content(ds: Dataset) -> bytes:
    """Return a Data Set as the bytes of its file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def make_model_version(sha256: str = "5f" * 32, **values: Any) -> ModelVersion:
    """Return the network of these tests."""
    row, _ = ModelVersion.objects.get_or_create(
        sha256=sha256, defaults={"name": "ecg-resnet", "version": "1.0.0", "card": CARD} | values
    )
    return row


def make_ecg(
    raster: npt.NDArray[np.uint8] | None = None,
    *,
    data: bytes | None = None,
    patient_id: str = "",
    patient_name: str = "",
    accession: str = "",
    study: Study | None = None,
    **values: Any,
) -> Instance:
    """Return an instance in RECEIVED whose file lies in the spool, with the start of its trail."""
    number = next(_numbers)
    patient_id = patient_id or f"P{4000 + number}"
    accession = accession or f"A{70000 + number}"
    ds = secondary_capture(
        drawn() if raster is None else raster,
        patient_id=patient_id,
        patient_name=patient_name,
        accession_number=accession,
    )
    spooled = spool.write(content(ds) if data is None else data, kind="instances")
    if study is None:
        study = Study.objects.create(
            study_instance_uid=ds.StudyInstanceUID,
            patient_id=patient_id,
            patient_name=patient_name,
            accession_number=accession,
            study_date=timezone.localdate(),
            description="12-lead ECG",
        )
    row = Instance.objects.create(
        **{
            "sop_instance_uid": ds.SOPInstanceUID,
            "sop_class_uid": ds.SOPClassUID,
            "transfer_syntax_uid": ds.file_meta.TransferSyntaxUID,
            "sha256": spooled.sha256,
            "size_bytes": spooled.size_bytes,
            "spool_name": spooled.name,
            "calling_title": "CART",
            "study": study,
            **values,
        }
    )
    append_transition(
        row, None, State(row.state), event="receive", actor="listener:101", at=row.received_at
    )
    return row


def analyse(row: Instance, probabilities: dict[str, float], *, after_s: float = 0.8) -> Instance:
    """Give an instance the findings of these probabilities, the others near zero."""
    version = make_model_version()
    at = row.received_at + datetime.timedelta(seconds=after_s)
    for index, key in enumerate(KEYS):
        probability = probabilities.get(key, 0.008 + 0.004 * index)
        threshold = _THRESHOLD[key]
        verdict = "present" if probability >= threshold else "absent"
        if threshold / 2 <= probability < threshold:
            verdict = "undetermined"
        Finding.objects.create(
            instance=row,
            model_version=version,
            key=key,
            probability=probability,
            threshold=threshold,
            verdict=verdict,
        )
    row.model_version, row.analysed_at, row.frame_number = version, at, 1
    row.region = [[40, 90], [1610, 90], [1610, 1050], [40, 1050]]
    row.quality = {"contrast": 0.83, "skew_degrees": 0.2}
    _move(row, State.ANALYSED, Event.ANALYSE, at, detail=f"{version} on page 1")
    return row


def _move(
    row: Instance,
    state: State,
    event: str,
    at: datetime.datetime,
    *,
    actor: str = "analyst@ward:212",
    detail: str = "",
    **values: Any,
) -> None:
    append_transition(row, State(row.state), state, event=event, actor=actor, detail=detail, at=at)
    row.state, row.state_since = state, at
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def reject(row: Instance, reason: str) -> Instance:
    """Have the Analyst refuse an instance."""
    at = row.received_at + datetime.timedelta(seconds=0.6)
    _move(row, State.REJECTED, Event.REJECT, at, detail=reason, reason=reason)
    return row


def fail(row: Instance, reason: str) -> Instance:
    """Have a worker give an instance up in the state it is in."""
    at = row.state_since + datetime.timedelta(minutes=47)
    failed_in = row.state
    _move(
        row, State.FAILED, Event.GIVE_UP, at, actor="courier@ward:213", detail=reason,
        reason=reason, last_error=reason, failed_in=failed_in,
    )  # fmt: skip
    return row


def make_peer(title: str = "ARCHIVE", host: str = "10.0.0.9", **values: Any) -> Peer:
    """Return a Peer that receives reports, unless told otherwise."""
    row, _ = Peer.objects.get_or_create(
        title=title, host=host, defaults={"is_destination": True, **values}
    )
    return row


def make_association(**values: Any) -> Association:
    """Return an association that brought one object and was released."""
    began = values.pop("started_at", timezone.now())
    return Association.objects.create(
        **{
            "uid": f"desk-{next(_numbers)}",
            "calling_title": "CART",
            "called_title": "ECGGATEWAY",
            "address": "10.0.0.5",
            "outcome": Association.Outcome.RELEASED,
            "instances_count": 1,
            "started_at": began,
            "ended_at": began + datetime.timedelta(seconds=0.7),
            **values,
        }
    )


def compose(row: Instance) -> list[Report]:
    """Write the two documents of an analysed instance, as the Analyst does."""
    at = row.state_since + datetime.timedelta(seconds=0.3)
    made = []
    for kind, (ds, document) in sources.reports_of(row).items():
        spooled = spool.write(document)
        made.append(
            Report.objects.create(
                instance=row,
                kind=kind,
                sop_instance_uid=ds.SOPInstanceUID,
                sop_class_uid=ds.SOPClassUID,
                sha256=spooled.sha256,
                size_bytes=spooled.size_bytes,
                spool_name=spooled.name,
                composed_at=at,
            )
        )
    _move(row, State.REPORTED, Event.COMPOSE, at)
    return made


def deliver(row: Instance, peer: Peer | None = None, *, refused_first: bool = False) -> Instance:
    """Store the documents of a reported instance at a Peer; at the second attempt, if so told."""
    peer = peer or make_peer()
    at = row.state_since + datetime.timedelta(seconds=0.4)
    for report in row.reports.all():
        if refused_first:
            attempt(report, peer, Delivery.Outcome.RETRY, 0xA700, attempted_at=at)
        attempt(report, peer, attempted_at=at + datetime.timedelta(seconds=6 * refused_first))
    at += datetime.timedelta(seconds=6 * refused_first)
    _move(row, State.DELIVERED, Event.DELIVER, at, actor="courier@ward:213")
    return row


def attempt(
    report: Report,
    peer: Peer,
    outcome: str = Delivery.Outcome.STORED,
    status: int | None = 0x0000,
    **values: Any,
) -> Delivery:
    """Return one attempt to store a report, with the words the SCU has for its status."""
    reason = "" if status is None else judge(status)[1]
    return Delivery.objects.create(
        **{"report": report, "peer": peer, "outcome": outcome, "status": status,
           "reason": reason, **values}
    )  # fmt: skip


def make_rule(name: str = "AF to the ward", *peers: Peer, **values: Any) -> Rule:
    """Return a routing rule that sends to these Peers."""
    row = Rule.objects.create(name=name, **values)
    row.destinations.set(peers)
    return row


def mean(report: Report, peer: Peer, **values: Any) -> Dispatch:
    """Return a report meant for a Peer."""
    return Dispatch.objects.create(report=report, peer=peer, **values)


def make_alert_rule(name: str = "AF", **values: Any) -> AlertRule:
    """Return a rule that tells a webhook of atrial fibrillation."""
    described = {"finding": "af", "channel": "webhook", "target": "https://ward.example.org/ecg"}
    return AlertRule.objects.create(name=name, **{**described, **values})


def make_alert(instance: Instance, rule: AlertRule | None = None, **values: Any) -> Alert:
    """Return an alert about an instance."""
    alert = alerts.as_raised(rule or make_alert_rule(), instance, findings_of(instance))
    for name, value in values.items():
        setattr(alert, name, value)
    alert.save()
    return alert
