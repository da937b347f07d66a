"""The ten findings: their order, their keys and what they mean.

Every vector of ten numbers in this package (targets, logits, probabilities, thresholds) is in
the order of `KEYS`. A picture may show several of them (atrial fibrillation with complete right
bundle branch block is one patient) or none (an infarct in sinus rhythm is not "normal").
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Label:
    """One finding the network answers for.

    Attributes
    ----------
    key : str
        The stable name in code, files and APIs.
    meaning : str
        The name people read, in English.
    """

    key: str
    meaning: str


LABELS: Final[tuple[Label, ...]] = (
    Label("normal", "Normal ECG"),
    Label("pvc", "Premature ventricular complexes"),
    Label("preexcitation", "Ventricular pre-excitation"),
    Label("clbbb", "Complete left bundle branch block"),
    Label("crbbb", "Complete right bundle branch block"),
    Label("af", "Atrial fibrillation"),
    Label("afl", "Atrial flutter"),
    Label("atrial_escape", "Atrial escape"),
    Label("pac", "Premature atrial complexes"),
    Label("at", "Atrial tachycardia"),
)

KEYS: Final[tuple[str, ...]] = tuple(label.key for label in LABELS)

#: What a page may be beside a twelve-lead page at 25 mm/s. The network tells them too, and such a
#: page is not read: six leads only, and paper that ran at 50 mm/s.
PAGE_KINDS: Final[tuple[str, ...]] = ("six_leads", "fast_paper")


def index_of(key: str) -> int:
    """Position of `key` in every vector of ten.

    Raises
    ------
    KeyError
        If `key` is none of `KEYS`.
    """
    if key not in KEYS:
        raise KeyError(f"expected one of {', '.join(KEYS)}; received {key!r}")
    return KEYS.index(key)
