"""One message by the mail server of the settings: to each address by itself, with an end to it all.

A mail server that takes a message for some addresses and refuses others has not sent it: who has it
and who not is told apart, so that those that have it do not get it again.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import threading
from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.message import sanitize_address

TIMEOUT_S: Final = 10.0
"""For connecting, and for each wait."""

TOTAL_S: Final = 30.0
"""For all of it: a server that takes its time with each command ends here."""


class NotSent(RuntimeError):
    """Not every address has the message; says why, without an address.

    Attributes
    ----------
    reached : tuple of str
        The addresses that have it.
    """

    def __init__(self, reason: str, reached: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reached = reached


def send(message: EmailMessage, addresses: Sequence[str]) -> None:
    """Send a message to `addresses`, which may be fewer than its heads name.

    Raises
    ------
    NotSent
        Some of them do not have it.
    """
    backend = get_connection(timeout=TIMEOUT_S)
    if not isinstance(backend, EmailBackend):
        # A file or a console: it takes all or raises.
        message.connection = backend
        message.send()
        return
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        _cut(backend)

    timer = threading.Timer(TOTAL_S, end)
    timer.daemon = True
    timer.start()
    reached: list[str] = []
    reasons: list[str] = []
    try:
        backend.open()
        server = backend.connection
        if server is None:
            raise smtplib.SMTPServerDisconnected
        sender = sanitize_address(settings.DEFAULT_FROM_EMAIL, "utf-8")
        content = b"\r\n".join(message.message().as_bytes().splitlines())
        for address in addresses:
            if is_late.is_set():
                raise TimeoutError
            try:
                server.sendmail(sender, [sanitize_address(address, "utf-8")], content)
            except smtplib.SMTPRecipientsRefused as refused:
                reasons += [f"answered {code}" for code, _ in refused.recipients.values()]
            else:
                reached.append(address)
    except (OSError, smtplib.SMTPException) as error:
        reason = "no answer in time" if is_late.is_set() else _reason(error)
        raise NotSent(reason, tuple(reached)) from None
    finally:
        timer.cancel()
        _leave(backend)
    if reasons:
        refused_of = f"{len(reasons)} of {len(addresses)} addresses refused"
        raise NotSent(f"{refused_of}: {', '.join(dict.fromkeys(reasons))}", tuple(reached))


def _connection(backend: EmailBackend) -> smtplib.SMTP | None:
    """Return what the backend has, or is about to have."""
    found: smtplib.SMTP | None = backend.connection or getattr(backend, "_partial_connection", None)
    return found


def _cut(backend: EmailBackend) -> None:
    """End every wait on the connection, from another thread."""
    connection = _connection(backend)
    sock = getattr(connection, "sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):
            # Below TLS, which belongs to the thread that waits.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _leave(backend: EmailBackend) -> None:
    """Hang up; what the server says to that changes nothing."""
    connection = _connection(backend)
    if connection is not None:
        connection.close()


def _reason(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    said = f"answered {code}" if code else getattr(error, "strerror", None) or ""
    return f"{type(error).__name__}{f': {said}' if said else ''}"
