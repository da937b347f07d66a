"""Which Application Entities we know: who may call, and who gets the reports."""

from __future__ import annotations

import functools
import ipaddress
import socket
import time

from django.conf import settings
from django.db.models import QuerySet

from dicom_node.timeouts import Timeouts
from gateway.models import Peer

RESOLVE_S = 60


def destinations() -> QuerySet[Peer]:
    """Return the Peers that receive reports."""
    return Peer.objects.filter(is_destination=True)


def timeouts() -> Timeouts:
    """Return how long we wait for a Peer, each wait by itself."""
    limit_s = settings.ECG_DICOM_TIMEOUT_S
    return Timeouts(connect_s=limit_s, association_s=limit_s, response_s=limit_s, network_s=limit_s)


def may_send(title: str, address: str) -> bool:
    """Return whether `title` calling from `address` is a known sender.

    A Peer with a host is known only at the addresses of that host; one without, at any.
    """
    return _is_known(Peer.objects.filter(title=title, is_sender=True), address)


def may_report(title: str, address: str) -> bool:
    """Return whether `title` calling from `address` may tell what became of our reports."""
    return _is_known(destinations().filter(title=title), address)


def _is_known(peers: QuerySet[Peer], address: str) -> bool:
    hosts = peers.values_list("host", flat=True)
    return any(not host or is_at(host, address) for host in hosts)


def is_at(host: str, address: str) -> bool:
    """Return whether `address` is one of those of `host`."""
    return _canonical(address) in addresses(host)


def addresses(host: str) -> frozenset[str]:
    """Return the addresses of `host`; empty when the name is not known now.

    Looked up at most once a minute: a slow name server must not slow each association.
    """
    try:
        return _resolve(host, int(time.monotonic() // RESOLVE_S))
    except OSError:
        return frozenset()


@functools.lru_cache(maxsize=256)
def _resolve(host: str, _minute: int) -> frozenset[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return frozenset(_canonical(str(info[4][0])) for info in found)


def _canonical(address: str) -> str:
    """Return one spelling of an address; an IPv4 one inside IPv6 is the IPv4 one."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
