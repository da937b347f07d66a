"""The language a document speaks: a code for machines, and a translator of our sentences.

Sentences are written in English in ``wording``, marked by `gettext_noop` and looked up when a
document is made. Who composes brings the translator; nothing here knows where it keeps its words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dicom_node import codes
from dicom_node.codes import Concept
from dicom_node.report.result import ReportError


def gettext_noop(sentence: str) -> str:
    """Mark a sentence for the tools that collect what is to be translated."""
    return sentence


@dataclass(frozen=True)
class Speech:
    """A language (RFC 5646) and the way into it.

    Attributes
    ----------
    code : str
        One of `dicom_node.codes.LANGUAGES`.
    translate : callable
        English sentence -> the same in this language, its placeholders kept.
    """

    code: str
    translate: Callable[[str], str]

    def __post_init__(self) -> None:
        if self.code not in codes.LANGUAGES:
            raise ReportError(
                f"expected a language of {', '.join(codes.LANGUAGES)}, received {self.code!r}"
            )

    @property
    def concept(self) -> Concept:
        """The language as a coded concept (TID 1204)."""
        return codes.LANGUAGES[self.code]

    def say(self, sentence: str, **values: object) -> str:
        """Return a sentence in this language with its placeholders filled."""
        said = self.translate(sentence)
        return said % values if values else said


#: Our sentences as they are written.
ENGLISH: Final = Speech("en-US", str)
