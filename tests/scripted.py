"""An archive that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Sequence

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from gateway.outputs import SOP_CLASSES


class ScriptedArchive:
    """A Storage SCP of plain pynetdicom with one answer to every C-STORE of what it supports.

    Parameters
    ----------
    status
        The status it answers.
    port
        0: any free one.
    sop_classes
        What it takes; by default all that we send.
    unsupported
        What it takes and then answers with 0122H, SOP Class not supported.
    """

    def __init__(
        self,
        status: int,
        *,
        port: int = 0,
        sop_classes: Sequence[str] = tuple(SOP_CLASSES.values()),
        unsupported: Sequence[str] = (),
    ) -> None:
        self.status = status
        self.stored: list[str] = []
        self.associations = 0
        self._unsupported = unsupported
        self._port = port
        self._sop_classes = sop_classes

    def __enter__(self) -> ScriptedArchive:
        ae = AE("SCRIPTED")
        ae.supported_contexts = [build_context(uid) for uid in self._sop_classes]
        self._server = ae.start_server(
            ("127.0.0.1", self._port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._answer), (evt.EVT_ACCEPTED, self._count)],
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
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return self.status

    def _count(self, _event: evt.Event) -> None:
        self.associations += 1
