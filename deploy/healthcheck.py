"""Ask the process in this container whether it answers; exit 0 if it does.

    healthcheck.py listening PORT     something holds the port
    healthcheck.py http PORT          the Desk answers /healthz with 200: its database answers too

Standard library only and no Django: it runs every half minute. The Listener is not called at all:
every call would be a line in its log, and one with a C-ECHO would have to come from a Peer.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

TIMEOUT_S = 3.0
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp (linux/include/net/tcp_states.h)."""


def check_listening(port: int) -> None:
    """Raise OSError unless a socket of this network namespace listens on `port`."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
                return
    raise OSError(f"expected a socket that listens on port {port}, found none")


def check_http(port: int) -> None:
    """Raise OSError unless /healthz answers 200, asked as the proxy would ask."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    connection.request("GET", "/healthz", headers=headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise OSError(f"expected 200 from /healthz, received {answer.status}")


CHECKS = {"listening": check_listening, "http": check_http}


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 well, 1 ill, 2 asked wrongly."""
    try:
        how, port = arguments
        CHECKS[how](int(port))
    except (KeyError, ValueError):
        print(__doc__, file=sys.stderr)
        return 2
    except (OSError, http.client.HTTPException) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
