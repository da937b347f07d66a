"""The DIMSE statuses of a C-STORE, and what each means for an object we sent.

Sources: PS3.4 Table B.2-1 (Storage), PS3.7 section 9.1.1.1.9 and Annex C (all services).
"""

from enum import IntEnum
from typing import Literal

Kind = Literal["stored", "warning", "retry", "refused"]


class Status(IntEnum):
    """A status of a response."""

    SUCCESS = 0x0000
    """The object is stored. From us: it is on disk and on record (PS3.7 Annex C)."""

    ATTRIBUTE_LIST_ERROR = 0x0107
    """Stored, some attributes were not recognised (PS3.7 Annex C)."""
    PROCESSING_FAILURE = 0x0110
    """A failure without a further name (PS3.7 Annex C)."""
    DUPLICATE_SOP_INSTANCE = 0x0111
    """The archive has an object of this UID already (PS3.7 Annex C)."""
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    """There is no object of this UID (PS3.7 Annex C)."""
    NO_SUCH_EVENT_TYPE = 0x0113
    """An N-EVENT-REPORT of an event that its SOP Class has not (PS3.7 Annex C)."""
    INVALID_ARGUMENT_VALUE = 0x0115
    """A parameter of the command, its data set included, is not valid (PS3.7 Annex C)."""
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    """Stored, an attribute value was out of range (PS3.7 Annex C)."""
    INVALID_SOP_INSTANCE = 0x0117
    """The SOP Instance UID breaks the rules for UIDs (PS3.7 Annex C)."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """The object of this UID is of another SOP Class (PS3.7 Annex C)."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The class is not the one negotiated, or not served (PS3.7 Annex C)."""
    NO_SUCH_ACTION = 0x0123
    """An N-ACTION that its SOP Class has not (PS3.7 Annex C)."""
    NOT_AUTHORISED = 0x0124
    """The sender may not do this (PS3.7 Annex C)."""
    DUPLICATE_INVOCATION = 0x0210
    """The Message ID is in use (PS3.7 Annex C)."""
    UNRECOGNISED_OPERATION = 0x0211
    """No such operation on this presentation context (PS3.7 Annex C)."""
    MISTYPED_ARGUMENT = 0x0212
    """A parameter of the command is not what it should be (PS3.7 Annex C)."""
    RESOURCE_LIMITATION = 0x0213
    """The receiver lacks a resource (PS3.7 Annex C)."""

    OUT_OF_RESOURCES = 0xA700
    """Not stored, the sender keeps the object and tries again (PS3.4 Table B.2-1, A7xx)."""
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    """Not stored, the data set is not one of its SOP Class (PS3.4 Table B.2-1, A9xx)."""
    CANNOT_UNDERSTAND = 0xC000
    """Not stored, the data set cannot be parsed (PS3.4 Table B.2-1, Cxxx)."""

    COERCION_OF_DATA_ELEMENTS = 0xB000
    """Stored, some elements were changed (PS3.4 Table B.2-1)."""
    ELEMENTS_DISCARDED = 0xB006
    """Stored, some elements were dropped (PS3.4 Table B.2-1)."""
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS_WARNING = 0xB007
    """Stored, although the data set is not one of its SOP Class (PS3.4 Table B.2-1)."""


# Failures of which PS3.7 Annex C says enough to know that the same object will fail again.
_REFUSALS = {
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0112: "no such object",
    0x0113: "no such event type",
    0x0115: "invalid argument value",
    0x0117: "invalid SOP Instance UID",
    0x0118: "no such SOP Class",
    0x0119: "class and instance do not fit",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP Class not supported",
    0x0123: "no such action",
    0x0124: "not authorised",
    0x0211: "operation not recognised",
    0x0212: "mistyped argument",
}

# Failures that say something about the moment rather than about the object. 0110 is what archives
# answer to any trouble of their own, a database that restarts for one.
_RETRIES = {
    0x0110: "processing failure at the peer",
    0x0210: "message number in use",
    0x0213: "resource limitation at the peer",
}

_WARNINGS = {
    0x0001: "stored, a requested optional service is not supported",
    0x0107: "stored, attributes not recognised",
    0x0116: "stored, attribute value out of range",
    0xB000: "stored, elements coerced",
    0xB006: "stored, elements discarded",
    0xB007: "stored, data set does not match its SOP Class",
}


def judge(status: int) -> tuple[Kind, str]:
    """Say what an answer to a C-STORE means for the object.

    Parameters
    ----------
    status : int
        The Status (0000,0900) of a C-STORE response.

    Returns
    -------
    kind : {"stored", "warning", "retry", "refused"}
        ``stored`` and ``warning``: the peer has the object. ``retry``: it has not, and may take it
        later. ``refused``: it has not, and the same object would be refused again.
    reason : str
        What the status says, in words.

    Notes
    -----
    0111 (duplicate SOP Instance) counts as stored: our UIDs are functions of their content, so an
    object of that UID in the archive is the object. A status that no table knows counts as
    ``retry``: attempts are bounded by the caller, and a late report is better than a lost one.
    """
    if status == Status.SUCCESS:
        return "stored", "stored"
    if status == Status.DUPLICATE_SOP_INSTANCE:
        return "stored", "stored already: the peer has an object of this UID"
    if status in _WARNINGS:
        return "warning", _WARNINGS[status]
    if 0xB000 <= status <= 0xBFFF:
        return "warning", f"stored, with the warning 0x{status:04X}"
    if 0xA700 <= status <= 0xA7FF:
        return "retry", f"the peer is out of resources (0x{status:04X})"
    if status in _RETRIES:
        return "retry", f"{_RETRIES[status]} (0x{status:04X})"
    if status in _REFUSALS:
        return "refused", f"{_REFUSALS[status]} (0x{status:04X})"
    if 0xA900 <= status <= 0xA9FF:
        return "refused", f"the data set does not match its SOP Class (0x{status:04X})"
    if 0xC000 <= status <= 0xCFFF:
        return "refused", f"the peer cannot understand the data set (0x{status:04X})"
    return "retry", f"the peer answered a status that no table knows (0x{status:04X})"
