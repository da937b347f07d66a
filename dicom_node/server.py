"""The listening socket of an acceptor: each connection gets a thread, up to a limit."""

import logging
from socket import AF_INET, AF_INET6
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

from pynetdicom import AE

from dicom_node.acceptor import Acceptance, Service
from dicom_node.upper_layer import Wire

_log = logging.getLogger(__name__)


class Server(TCPServer):
    """The listening socket. Connections beyond a limit are closed before they cost a thread."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, ae: AE, address: tuple[str, int], service: Service, max_connections: int
    ) -> None:
        self.max_connections = max_connections
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self._ae = ae
        self._service = service
        self._associations: set[Acceptance] = set()
        super().__init__(address, BaseRequestHandler)

    @property
    def active_associations(self) -> list[Acceptance]:
        """The connections that are open."""
        self._associations = {one for one in self._associations if one.is_alive()}
        return list(self._associations)

    def close(self) -> None:
        """Take no more connections. Those that are open go on."""
        self.shutdown()
        self.server_close()

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Refuse a connection when too many are open."""
        if len(self.active_associations) < self.max_connections:
            return True
        _log.warning(
            "connection from %s closed: %d are open", client_address[0], self.max_connections
        )
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a new connection its thread, which closes it."""
        wire = Wire(request, timeout_s=self._ae.acse_timeout)
        association = Acceptance(self._ae, self._service, wire, client_address[0])
        association.start()
        self._associations.add(association)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log a connection that could not be set up."""
        _log.exception("connection from %s failed", client_address[0])
