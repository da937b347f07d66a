"""Ask the process in this container whether it answers; exit 0 if it does.

    healthcheck.py tcp PORT     something accepts connections
    healthcheck.py http PORT    the Desk answers /healthz with 200: its database answers too

Standard library only and no Django: it runs every half minute. The Listener gets no C-ECHO, for
that would have to come from a Peer and would fill the list of associations.
"""

from __future__ import annotations

import http.client
import socket
import sys

TIMEOUT_S = 3.0


def tcp(port: int) -> None:
    """Raise OSError unless something listens."""
    socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()


def http_(port: int) -> None:
    """Raise OSError unless /healthz answers 200, asked as the proxy would ask."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    connection.request("GET", "/healthz", headers=headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise OSError(f"expected 200 from /healthz, received {answer.status}")


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    try:
        how, port = arguments
        {"tcp": tcp, "http": http_}[how](int(port))
    except (KeyError, ValueError):
        print(__doc__, file=sys.stderr)
        return 2
    except (OSError, http.client.HTTPException) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
