"""A socket on which no wait is endless.

pynetdicom reads a PDU with a blocking ``recv`` that has no time limit and no size limit: a peer
that sends half a PDU and falls silent holds two threads for ever, and one that announces a PDU of
4 GB is given the memory. Here each PDU has both limits; breaking one ends the connection.
"""

import contextlib
import socket as sockets
import time
from typing import Any, Final

from pynetdicom.transport import AddressInformation, AssociationSocket

# An association request lists its presentation contexts and is not bound by the negotiated PDU
# length (PS3.8 Annex D.1); 128 contexts with every transfer syntax need about 300 kB.
MAX_PDU_BYTES: Final = 1 << 20

# Events of the upper layer's state machine (PS3.8 Table 9-10).
_CONNECTION_CONFIRMED: Final = "Evt2"
_CONNECTION_FAILED: Final = "Evt17"


class BoundedSocket(AssociationSocket):  # type: ignore[misc]
    """pynetdicom's socket with limits on the time and the size of a PDU.

    Attributes
    ----------
    fault : OSError or None
        Why connecting failed.
    """

    socket: sockets.socket | None
    fault: OSError | None = None
    timeout_s: float = 60.0

    def limit(self, timeout_s: float) -> None:
        """Let no send or receive take longer than this, from now on."""
        self.timeout_s = timeout_s
        sock = self.socket
        if sock is not None:
            sock.settimeout(timeout_s)

    def connect(self, primitive: Any) -> None:
        """Connect, and keep the reason when that fails. The name and its use are pynetdicom's."""
        sock = self.socket
        if sock is None:
            raise OSError("the connection is closed")
        address = primitive.address_info.as_tuple
        try:
            sock.settimeout(self.assoc.connection_timeout)
            sock.connect(address)
            # A request is two short PDUs, command and data set. Left alone, TCP keeps the second
            # back until the first is acknowledged, which a peer puts off for 40 ms.
            sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            self.limit(self.timeout_s)
        except OSError as fault:
            self.fault = fault
            self._shutdown_socket()
            self.socket = None
            primitive.result = _CONNECTION_FAILED
        else:
            self._is_connected = True
            self.assoc.requestor.address_info = AddressInformation.from_tuple(sock.getsockname())
            primitive.result = _CONNECTION_CONFIRMED
        self.provider_queue.put(primitive)
        self._ready.set()

    def _shutdown_socket(self) -> None:
        """Close the socket, which pynetdicom's own leaves open when it never got connected."""
        sock = self.socket
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(sockets.SHUT_RDWR)
            sock.close()

    def shut(self) -> None:
        """Close the connection, in whatever state it is."""
        self._shutdown_socket()

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly this many bytes, fewer when the peer closes the connection.

        Raises
        ------
        OSError
            When the size is beyond any PDU we take, or the bytes do not come in time.
        """
        if nr_bytes > MAX_PDU_BYTES:
            raise OSError(f"a PDU has at most {MAX_PDU_BYTES} bytes, this one has {nr_bytes}")
        sock = self.socket
        if sock is None:
            raise OSError("the connection is closed")
        deadline = time.monotonic() + self.timeout_s
        received = bytearray(nr_bytes)
        view = memoryview(received)
        count = 0
        while count < nr_bytes:
            if time.monotonic() > deadline:
                raise TimeoutError(f"a PDU took longer than {self.timeout_s} s")
            _acknowledge_at_once(sock)
            got = sock.recv_into(view[count:])
            if got == 0:
                break
            count += got
        view.release()
        del received[count:]
        return received


_QUICKACK: Final = getattr(sockets, "TCP_QUICKACK", None)  # Linux alone has it


def _acknowledge_at_once(sock: sockets.socket) -> None:
    """Have the kernel acknowledge what comes next without waiting for something to send with it.

    DCMTK, and so Orthanc, writes an answer in two pieces, and TCP keeps its second back until the
    first is acknowledged: 40 ms an answer, 20 objects a second and no more. The kernel forgets this
    after a while (tcp(7)), so it is told before each read.
    """
    if _QUICKACK is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(sockets.IPPROTO_TCP, _QUICKACK, 1)
