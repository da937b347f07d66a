"""One signed HTTP POST: no redirect is followed, every wait has an end, no answer is read.

Signature: ``X-ECG-Signature: sha256=`` and the hexadecimal HMAC-SHA256, by the shared secret, of
the value of ``X-ECG-Timestamp``, a full stop, and the body. A receiver that checks the time as well
takes no old message for a new one; ``Idempotency-Key`` tells it a repeated one from a second one.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

TIMEOUT_S: Final = 5.0
"""For looking the host up, for connecting, and for each wait."""

TOTAL_S: Final = 10.0
"""For all of it: a receiver that answers a letter a second ends here."""

MAX_BODY_BYTES: Final = 16 << 10
_MAX_STATUS_BYTES: Final = 4096
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r?\n")


class NotTaken(RuntimeError):
    """The receiver did not take the message; says why, without its address."""


def validate_address(value: str) -> None:
    """Accept an http or https address with a host and without a password.

    Raises
    ------
    ValidationError
        It is none.
    """
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or any(character.isspace() or ord(character) < 32 for character in value):
        raise ValidationError("Expected an address such as https://host.example.org/path.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("Put no name and password into the address.")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message."""
    text = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def post(url: str, body: bytes, *, key: str, secret: str) -> None:
    """Post JSON to `url`; returns when it was answered with success (2xx).

    Parameters
    ----------
    key
        Of the message, the same each time it is tried.
    secret
        Signs it; empty: it is not signed.

    Raises
    ------
    NotTaken
        No answer in time, or another answer than success.
    """
    if len(body) > MAX_BODY_BYTES:
        raise NotTaken(f"a message of {len(body)} bytes; at most {MAX_BODY_BYTES} are sent")
    parts = urlsplit(url)
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "ECG-Gateway",
        "Idempotency-Key": key,
        "X-ECG-Timestamp": timestamp,
        "Connection": "close",
    }
    if secret:
        headers["X-ECG-Signature"] = sign(secret, timestamp, body)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        status = _exchange(parts, path, body, headers, _Budget(TOTAL_S))
    except TimeoutError:
        raise NotTaken("no answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotTaken(f"no answer: {reason}") from None
    if 300 <= status < 400:
        raise NotTaken(f"answered {status}: it lies elsewhere, and no redirect is followed")
    if not 200 <= status < 300:
        raise NotTaken(f"answered {status}")


class _Budget:
    """What is left of the time for one message."""

    def __init__(self, total_s: float) -> None:
        self._ends_at = time.monotonic() + total_s

    def next_wait_s(self) -> float:
        """Return how long the next wait may be; TimeoutError when nothing is left."""
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        return min(TIMEOUT_S, left_s)


def _exchange(
    parts: SplitResult, path: str, body: bytes, headers: dict[str, str], budget: _Budget
) -> int:
    """Return the status of the answer; TimeoutError when it took too long altogether."""
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = kind(host, parts.port)
    try:
        connection.sock = _connected(host, connection.port, budget)
        if is_secure:
            connection.sock = _secured(connection.sock, host, budget)
        connection.sock.settimeout(budget.next_wait_s())
        connection.request("POST", path, body, headers)
        return _status(connection.sock, budget)
    finally:
        connection.close()


def _connected(host: str, port: int, budget: _Budget) -> socket.socket:
    """Connect to the first address of a host that answers."""
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in _addresses(host, port, budget):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(budget.next_wait_s())
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _addresses(host: str, port: int, budget: _Budget) -> list[Any]:
    """Look a host up in a thread: the system's own lookup cannot be given a time."""
    found: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.set_exception(error if isinstance(error, OSError) else OSError("no host name"))

    threading.Thread(target=look_up, name="lookup", daemon=True).start()
    return found.result(budget.next_wait_s())


def _secured(sock: socket.socket, host: str, budget: _Budget) -> ssl.SSLSocket:
    """Shake hands; the socket's timeout holds for the whole of it."""
    context = ssl.create_default_context()
    secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        secured.settimeout(budget.next_wait_s())
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


def _status(sock: socket.socket, budget: _Budget) -> int:
    """Read the status of the answer and nothing behind it, but past interim answers (1xx)."""
    read = b""
    while True:
        if found := _STATUS.match(read):
            if not found[1].startswith(b"1"):
                return int(found[1])
            _, end, rest = read.partition(b"\r\n\r\n")
            if end:
                read = rest
                continue
            if len(read) > _MAX_STATUS_BYTES:
                raise http.client.BadStatusLine("an endless interim answer")
        elif len(read) > _MAX_STATUS_BYTES or b"\n" in read:
            raise http.client.BadStatusLine("not HTTP")
        sock.settimeout(budget.next_wait_s())
        more = sock.recv(1024)
        if not more:
            raise http.client.RemoteDisconnected("no status")
        read += more
