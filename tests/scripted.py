"""Archives that answer what a test tells them to, and what is no archive at all."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import ClassVar

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from gateway.outputs import SOP_CLASSES, Output

REJECTED_FOR_NOW = bytes([3, 0, 0, 0, 0, 4, 0, 2, 3, 2])
"""A-ASSOCIATE-RJ: transient, presentation related, local limit exceeded (PS3.8 section 9.3.4)."""


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


def abort(event: evt.Event) -> int:
    """Answer a C-STORE with A-ABORT."""
    event.assoc.abort()
    return 0


def refuse(connected: socket.socket) -> None:
    """Reject an association for now."""
    connected.recv(1 << 16)
    connected.sendall(REJECTED_FOR_NOW)
    connected.close()


@contextmanager
def listener(
    speak: Callable[[socket.socket], None], *, port: int = 0
) -> Iterator[tuple[str, str, int]]:
    """Run something that is no archive on a port; yield how an archive there would be called."""
    with ExitStack() as connections, socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            while True:
                try:
                    connected, _ = server.accept()
                except OSError:
                    return
                connections.enter_context(connected)
                try:
                    speak(connected)
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield ("FAULTY", "127.0.0.1", server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


class MoodyArchive:
    """An archive with every fault there is, one at a time, and a memory of what it has taken.

    Attributes
    ----------
    taken : dict
        Accession number -> SOP Class UID -> SOP Instance UIDs it has answered to be there.
    """

    STATUSES: ClassVar = {
        "out of resources (A700)": 0xA700,
        "processing failure (0110)": 0x0110,
        "duplicate (0111)": 0x0111,
        "coerced (B000)": 0xB000,
    }
    MOODS = (*STATUSES, "no Comprehensive SR (0122)", "abort", "hang", "slow", "refuse", "down")

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._mood = ""
        self._moods = ExitStack()
        with ScriptedArchive(0x0000) as archive:
            self.entity_args = archive.entity_args

    def __enter__(self) -> MoodyArchive:
        self.be("")
        return self

    def __exit__(self, *_: object) -> None:
        self._moods.close()

    def be(self, mood: str) -> None:
        """Have this fault from now on; empty: none."""
        self._moods.close()
        self._mood = mood
        port = self.entity_args[2]
        if mood == "refuse":
            self._moods.enter_context(listener(refuse, port=port))
        elif mood != "down":
            self._moods.enter_context(ScriptedArchive(self._answer, port=port))

    def _answer(self, event: evt.Event) -> int:
        mood, sop_class = self._mood, str(event.request.AffectedSOPClassUID)
        if mood == "abort":
            return abort(event)
        if mood == "hang":
            while self._mood == "hang" and event.assoc.is_established:
                time.sleep(0.05)
            return 0x0110
        if mood == "slow":
            time.sleep(1.0)
        if mood.startswith("no Comprehensive") and sop_class == SOP_CLASSES[Output.COMPREHENSIVE]:
            return 0x0122
        status = self.STATUSES.get(mood, 0x0000)
        if status in (0x0000, 0x0111, 0xB000):
            ds = event.dataset
            self.taken[str(ds.AccessionNumber)][sop_class].add(str(ds.SOPInstanceUID))
        return status
