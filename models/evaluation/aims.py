"""What the network was to reach, and whether it did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.evaluation.beside import SIGNAL
from models.evaluation.judgement import MARK_POSITIVES
from models.labels import LABELS

#: Least AUROC on test patients.
_LEAST_AUROC: Final = {
    "af": 0.97,
    "clbbb": 0.99,
    "crbbb": 0.985,
    "pvc": 0.97,
    "pac": 0.90,
    "normal": 0.93,
}
_PHOTOS: Final = ("photo", "photo_stained", "screen")


@dataclass(frozen=True)
class Aim:
    """One aim.

    Attributes
    ----------
    name : str
    wanted, found : float
        `found` is None where nothing stands behind it.
    at_least : bool
        Whether `found` should not be below `wanted`, or not above.
    ceiling : float or None
        What a network on the signal itself reaches, where that is known.
    """

    name: str
    wanted: float
    found: float | None
    at_least: bool = True
    ceiling: float | None = None

    @property
    def sign(self) -> str:
        """The relation that is wanted."""
        return "≥" if self.at_least else "≤"

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None when that is not known."""
        if self.found is None:
            return None
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    @property
    def verdict(self) -> str:
        """The same in words."""
        return {True: "met", False: "**not met**", None: "not known"}[self.met]


def aims(metrics: Mapping[str, Any]) -> list[Aim]:
    """All aims against the figures of a card."""
    unseen = metrics["layout_gap"]["unseen"]
    signal = metrics.get("baselines", {}).get(SIGNAL, {})
    whole, each = signal.get("macro_auroc"), signal.get("auroc", {})
    found = [Aim("mean AUROC, layouts never trained on", 0.95, unseen, ceiling=whole)]
    mixed = metrics["macro_auroc"]
    found.append(Aim("mean AUROC, one page of each ECG", 0.95, mixed, ceiling=whole))
    for label in LABELS:
        if label.key in _LEAST_AUROC:
            one = metrics["test"][label.key]
            enough = one["positives"] >= MARK_POSITIVES
            found.append(
                Aim(
                    f"AUROC, {label.meaning}",
                    _LEAST_AUROC[label.key],
                    one["auroc"] if enough else None,
                    ceiling=each.get(label.key),
                )
            )
    found.append(Aim("gap to layouts never trained on", 0.01, metrics["layout_gap"]["gap"], False))
    kept = [metrics["effects"][photo]["kept"] for photo in _PHOTOS]
    found.append(
        Aim(
            "worst photograph's share of the clean F1",
            0.88,
            None if None in kept else min(kept),
        )
    )
    errors = [one["error"] for one in metrics["calibration"].values()]
    found.append(
        Aim("mean calibration error of the findings", 0.03, sum(errors) / len(errors), False)
    )
    found.append(Aim("worst calibration error of a finding", 0.03, max(errors), False))
    found.append(Aim("good pages refused", 0.03, metrics["refused"], False))
    return found
