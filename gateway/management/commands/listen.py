"""``manage.py listen``: the Listener, which holds the DICOM port."""

from __future__ import annotations

import functools
import signal
import threading
import time
from typing import Any

import structlog
from django.conf import settings
from django.core.management import BaseCommand

from dicom_node.scp import StorageSCP
from gateway import ingest, spool

log = structlog.get_logger("gateway.listener")
ABANDONED_S = 3600.0


class Command(BaseCommand):
    help = (
        "Run the Listener: take ECG pictures by C-STORE from known Peers, keep each durably, "
        "and only then answer Success. `manage.py peer add` makes a Peer known."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        removed = spool.sweep_incoming(older_than_s=ABANDONED_S, now=time.time())
        with StorageSCP(
            settings.ECG_AE_TITLE,
            settings.ECG_DICOM_HOST,
            settings.ECG_DICOM_PORT,
            admit=functools.partial(ingest.admit, title=settings.ECG_AE_TITLE),
            on_instance=ingest.receive,
            on_association=ingest.record,
            incoming_folder=spool.incoming(),
            max_associations=settings.ECG_MAX_ASSOCIATIONS,
        ):
            log.info(
                "listening",
                title=settings.ECG_AE_TITLE,
                port=settings.ECG_DICOM_PORT,
                abandoned_files_removed=removed,
            )
            stop.wait()
        log.info("stopped listening")
