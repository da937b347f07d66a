"""Rows for tests of the middle of the house."""

from __future__ import annotations

import itertools
from typing import Any

from gateway.models import Instance

_numbers = itertools.count(1)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def make_instance(**values: Any) -> Instance:
    """Return a saved instance in RECEIVED, with a UID of its own; no file lies in the spool."""
    number = next(_numbers)
    return Instance.objects.create(
        **{
            "sop_instance_uid": f"2.25.{number}",
            "sop_class_uid": SECONDARY_CAPTURE,
            "transfer_syntax_uid": EXPLICIT_LITTLE_ENDIAN,
            "sha256": f"{number:064x}",
            "size_bytes": 1,
            "spool_name": f"instances/00/{number}.dcm",
            "calling_title": "SENDER",
            **values,
        }
    )
