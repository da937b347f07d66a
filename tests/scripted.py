"""An archive that answers what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from gateway.outputs import SOP_CLASSES


class ScriptedArchive:
    """A Storage SCP of plain pynetdicom with one answer to every C-STORE of what it supports.

    Parameters
    ----------
    status
        The status it answers, or what finds it for a request: it may take its time, or abort. May
        be changed while it runs.
    port
        0: any free one.
    sop_classes
        What it takes; by default all that we send.
    unsupported
        What it takes and then answers with 0122H, SOP Class not supported.
    """

    def __init__(
        self,
        status: int | Callable[[evt.Event], int],
        *,
        port: int = 0,
        sop_classes: Sequence[str] = tuple(SOP_CLASSES.values()),
        unsupported: Sequence[str] = (),
    ) -> None:
        self.status = status
        self.stored: list[str] = []
        self.associations = 0
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        self._unsupported = unsupported
        self._port = port
        self._sop_classes = sop_classes

    def __enter__(self) -> ScriptedArchive:
        ae = AE("SCRIPTED")
        ae.supported_contexts = [build_context(uid) for uid in self._sop_classes]
        self._server = ae.start_server(
            ("127.0.0.1", self._port),
            block=False,
            evt_handlers=[
                (evt.EVT_C_STORE, self._answer),
                (evt.EVT_ACCEPTED, self._count),
                (evt.EVT_CONN_CLOSE, self._uncount),
            ],
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port."""
        return ("SCRIPTED", "127.0.0.1", self._server.server_address[1])

    def _answer(self, event: evt.Event) -> int:
        if str(event.request.AffectedSOPClassUID) in self._unsupported:
            return 0x0122
        uid = str(event.request.AffectedSOPInstanceUID)
        status = self.status(event) if callable(self.status) else self.status
        self.stored.append(uid)
        return status

    def _count(self, event: evt.Event) -> None:
        with self._lock:
            event.assoc.is_counted = True
            self.associations += 1
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)

    def _uncount(self, event: evt.Event) -> None:
        with self._lock:
            self._open -= getattr(event.assoc, "is_counted", False)
