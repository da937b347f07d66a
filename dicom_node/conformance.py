"""The tables of CONFORMANCE.md, printed from the code: ``python -m dicom_node.conformance``.

Run it after a change of contexts, statuses or codes; a test fails until it was run.
"""

import re
from pathlib import Path
from typing import Final

from dicom_node import codes
from dicom_node.codes import EXTENDS_CID_3230, FINDING_CODES, Concept
from dicom_node.contexts import (
    EXPLICIT_LE,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_LE,
    QUERY_CLASSES,
    REPORT_CLASSES,
    STORAGE_CLASSES,
    STORAGE_COMMITMENT,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from dicom_node.scp import Refusal
from dicom_node.status import Status, judge

STATEMENT: Final = Path(__file__).with_name("CONFORMANCE.md")


def tables() -> dict[str, str]:
    """Return every generated table by the name of its place in the statement."""
    return {
        "storage-classes": _table(
            ("SOP Class", "UID", "role"),
            [
                ("Verification", VERIFICATION, "SCU and SCP"),
                ("Storage Commitment Push Model", STORAGE_COMMITMENT, "SCU and SCP"),
                *(
                    (name, uid, "SCU and SCP" if uid in REPORT_CLASSES else "SCP")
                    for uid, name in STORAGE_CLASSES.items()
                ),
                *(
                    (name, uid, "SCU")
                    for uid, name in REPORT_CLASSES.items()
                    if uid not in STORAGE_CLASSES
                ),
                *((name, uid, "SCU") for uid, name in QUERY_CLASSES.items()),
            ],
        ),
        "implementation": _table(
            ("what", "value"),
            [
                ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
                ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
            ],
        ),
        "transfer-syntaxes": _table(
            ("Transfer Syntax", "UID", "pictures (SCP)", "reports (SCU)"),
            [
                (name, uid, "yes", "offered" if uid in (EXPLICIT_LE, IMPLICIT_LE) else "no")
                for uid, name in TRANSFER_SYNTAXES.items()
            ],
        ),
        "rejections": _table(
            ("situation", "result", "source", "reason"),
            [(refusal.name, *map(str, refusal.value)) for refusal in Refusal],
        ),
        "statuses": _table(
            ("status", "name", "what the Courier makes of it"),
            [
                (f"0x{status.value:04X}", status.name, " - ".join(judge(status)))
                for status in sorted(Status)
            ],
        ),
        "codes": _table(
            ("finding", "code", "scheme", "meaning", "in CID 3230"),
            [
                (
                    key,
                    concept.value,
                    concept.scheme,
                    concept.meaning,
                    "extends it" if key in EXTENDS_CID_3230 else "yes",
                )
                for key, concept in FINDING_CODES.items()
            ],
        ),
        "concepts": _table(
            ("code", "scheme", "meaning"),
            [
                (concept.value, concept.scheme, concept.meaning)
                for concept in vars(codes).values()
                if isinstance(concept, Concept)
            ],
        ),
    }


def renew(statement: str) -> str:
    """Return the statement with its tables as the code has them.

    Raises
    ------
    KeyError
        A marker names no table.
    """
    made = tables()
    return re.sub(
        r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}",
        statement,
        flags=re.DOTALL,
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    STATEMENT.write_text(renew(STATEMENT.read_text()))
