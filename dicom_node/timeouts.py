"""How long we wait for a peer we call. Apart, so that naming it loads nothing that calls."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """How long the SCU waits, in seconds.

    Attributes
    ----------
    connect_s : float
        For the TCP connection.
    association_s : float
        For the answer to an association request, and to a release.
    response_s : float
        For the answer to a request, once it is sent.
    network_s : float
        For any single PDU, sent or received.
    """

    connect_s: float = 10.0
    association_s: float = 20.0
    response_s: float = 60.0
    network_s: float = 60.0
