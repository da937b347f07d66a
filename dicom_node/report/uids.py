"""The UIDs of a report: functions of what it is made of, so that composing again changes nothing.

The opposite matters as much: no two different documents may share a UID. Hence everything that
shows in a document goes in, the copied header and the software version of the device included.
"""

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydicom.uid import UID

from dicom_node.report.attributes import is_uid
from dicom_node.report.result import AnalysisResult, FindingResult, ReportError
from dicom_node.report.source import Source
from dicom_node.report.speech import ENGLISH, Speech

#: A UUID written as a number needs no registration (PS3.5 section B.2).
UUID_ROOT: Final = "2.25"
_MAX_UID_LENGTH: Final = 64
# Leaves room for 24 digits, about 80 bits: no two documents of a hospital will ever meet.
_MAX_ROOT_LENGTH: Final = 39


@dataclass(frozen=True)
class DerivedUids:
    """The UIDs of the documents of one source and one result.

    Attributes
    ----------
    seed : bytes
        Digest of source, network and result.
    root : str
        "2.25", or an organisation's own root of at most 39 characters.
    """

    seed: bytes
    root: str = UUID_ROOT

    @classmethod
    def of(
        cls,
        source: Source,
        result: AnalysisResult,
        root: str = UUID_ROOT,
        speech: Speech = ENGLISH,
    ) -> "DerivedUids":
        """Return the UIDs for a source and a result in a language.

        Raises
        ------
        ReportError
            The root is no UID, or too long.
        """
        if not is_uid(root) or "." not in root or len(root) > _MAX_ROOT_LENGTH:
            raise ReportError(
                f"expected a UID root of at most {_MAX_ROOT_LENGTH} characters, received {root!r}"
            )
        made_of = {
            "source": source.uid,
            "header": source.identity_digest(),
            **_said(result),
            "findings": [_said(finding) for finding in result.ordered],
            "analysed_at": result.analysed_at.isoformat(),
        }
        if result.review is not None:
            made_of["review"] = result.review.said()
        if speech.code != ENGLISH.code:
            made_of["language"] = speech.code
        # JSON keeps the parts apart: no part can reach into the next.
        return cls(hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).digest(), root)

    def derive(self, *purpose: str) -> UID:
        """Return the UID for one purpose, e.g. ``("basic_text", "series")``."""
        digest = hashlib.sha256(self.seed + json.dumps(purpose).encode()).digest()
        if self.root == UUID_ROOT:
            return UID(f"{UUID_ROOT}.{uuid.UUID(bytes=digest[:16], version=5).int}")
        room = _MAX_UID_LENGTH - len(self.root) - 1
        return UID(f"{self.root}.{int.from_bytes(digest[:16], 'big') % 10**room}")


def _said(value: AnalysisResult | FindingResult) -> dict[str, Any]:
    """A value as a dictionary, without what was added later and says nothing here.

    A result that existed before these fields did keeps its UIDs.
    """
    later: dict[str, object] = {"statements": (), "joined": (), "review": None}
    if isinstance(value, FindingResult):
        later = {"frame_number": None, "region": None, "overridden": None}
    return {
        name: said
        for name, said in asdict(value).items()
        if name not in later or said != later[name]
    }
