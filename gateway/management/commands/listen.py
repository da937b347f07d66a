"""``manage.py listen``: the Listener, which holds the DICOM port."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any

import structlog
from django.conf import settings
from django.core.management import BaseCommand

from dicom_node.scp import AssociationRecord, Caller, Limits, Refusal, StorageSCP
from gateway import connection_pool, ingest, spool

log = structlog.get_logger("gateway.listener")


class Command(BaseCommand):
    help = (
        "Run the Listener: take ECG pictures by C-STORE from known Peers, keep each durably, "
        "and only then answer Success. `manage.py peer add` makes a Peer known."
    )
    # An ECG is taken whatever else is wrong here: a damaged network must not turn one away.
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with contextlib.suppress(OSError):  # a full disk: each object will say so, to its sender
            spool.prepare()
        with StorageSCP(
            settings.ECG_AE_TITLE,
            settings.ECG_DICOM_HOST,
            settings.ECG_DICOM_PORT,
            admit=_admit,
            on_instance=ingest.receive,
            on_association=_record,
            on_commitment_result=ingest.take_commitment,
            on_commitment_request=ingest.take_request,
            incoming_folder=spool.incoming(),
            limits=Limits(max_associations=settings.ECG_MAX_ASSOCIATIONS),
        ):
            log.info("listening", title=settings.ECG_AE_TITLE, port=settings.ECG_DICOM_PORT)
            stop.wait()
        log.info("stopped listening")


# Both run on the thread of the association, one at its beginning, the other at its end.


def _admit(caller: Caller) -> Refusal | None:
    connection_pool.borrow()
    return ingest.admit(caller, title=settings.ECG_AE_TITLE)


def _record(association: AssociationRecord) -> None:
    try:
        ingest.record(association)
    finally:
        if association.ended_at is not None:
            connection_pool.give_back()
