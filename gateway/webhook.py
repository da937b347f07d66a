"""One signed HTTP POST: no redirect is followed, every wait has an end, no answer is read.

Signature: ``X-ECG-Signature: sha256=`` and the hexadecimal HMAC-SHA256, by the shared secret, of
the value of ``X-ECG-Timestamp``, a full stop, and the body. A receiver that checks the time as well
takes no old message for a new one; ``Idempotency-Key`` tells it a repeated one from a second one.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from typing import Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

TIMEOUT_S: Final = 5.0
"""For connecting, and for each wait."""

TOTAL_S: Final = 10.0
"""For all of it: a receiver that answers a letter a second ends here."""

MAX_BODY_BYTES: Final = 16 << 10


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
        status = _exchange(
            _connection(parts.scheme, parts.hostname or "", parts.port), path, body, headers
        )
    except TimeoutError:
        raise NotTaken("no answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotTaken(f"no answer: {reason}") from None
    if 300 <= status < 400:
        raise NotTaken(f"answered {status}: it lies elsewhere, and no redirect is followed")
    if not 200 <= status < 300:
        raise NotTaken(f"answered {status}")


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def _exchange(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> int:
    """Return the status of the answer; TimeoutError when it took too long altogether."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(TOTAL_S, end)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if is_late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        connection.close()
