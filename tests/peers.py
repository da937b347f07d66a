"""The systems a gateway meets, for real: archives, DICOM clients, a database, a broker.

Each is a context manager that starts the real program on a free loopback port, in a folder of its
own, waits until it answers, and stops only what it started. This is the door to all of them::

    from peers import Orthanc, StoreSCP, eventually, storescu
"""

from __future__ import annotations

from archives import Orthanc, StoreSCP
from dcmtk import Outcome, dcmtk, echoscu, storescu
from programs import Program, eventually, free_port, is_listening, require
from servers import Postgres, Valkey, postgres, valkey

__all__ = [
    "Orthanc",
    "Outcome",
    "Postgres",
    "Program",
    "StoreSCP",
    "Valkey",
    "dcmtk",
    "echoscu",
    "eventually",
    "free_port",
    "is_listening",
    "postgres",
    "require",
    "storescu",
    "valkey",
]
