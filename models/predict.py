"""Predictor: a network loaded once, pages in, calibrated findings out.

Nothing is loaded with this module: processes that only name these types stay light. Pages run
through `models.forward` in a few fixed batch sizes. A page that the network itself calls unlike
all it has learned from, or of a kind that is not read, gets no findings but a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.artifact import Artifact, ModelCard
from models.calibrate import Verdict
from models.labels import KEYS, PAGE_KINDS
from models.packet import pack
from models.page import Corner, NotReadable, Page, find_page

UNFAMILIAR: Final = "unlike every page the network has learned from"

KIND_REASONS: Final = {
    "six_leads": "six leads only: a twelve-lead page is needed",
    "fast_paper": "paper at 50 mm/s: expected 25 mm/s",
}
"""Why a page of each of `models.labels.PAGE_KINDS` is not read."""


@dataclass(frozen=True)
class Finding:
    """What the network says about one finding: probability and threshold 0..1, and the verdict."""

    key: str
    probability: float
    threshold: float
    verdict: Verdict


@dataclass(frozen=True)
class PageReading:
    """What was read on one page, or why nothing was.

    Attributes
    ----------
    readable : bool
        False: there are no findings, and `reason` says why.
    findings : tuple of Finding
        Ten, in the order of `models.labels.KEYS`; empty when not readable.
    quality : dict
        As `models.page.Page` measured it, and ``unfamiliarity``: how far from the pages of the
        training the network places it, 1 being the limit.
    region : four (column, row) corners, or None
        The tracing in the picture.
    kinds : tuple of str
        Those of `models.labels.PAGE_KINDS` that it is, the most probable first.
    """

    readable: bool
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    quality: dict[str, float] = field(default_factory=dict)
    region: tuple[Corner, ...] | None = None
    kinds: tuple[str, ...] = ()


class Predictor:
    """A verified network, ready to read.

    Parameters
    ----------
    folder : Path
        An artifact.
    threads : int, optional
        Of the computation; by default one for each core this process may use.

    Raises
    ------
    models.artifact.ArtifactError
        The folder is no artifact, or a file is not the one its hash names.
    """

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self.artifact = Artifact.load(folder).verify()
        self.card: ModelCard = self.artifact.card
        self._forward = self.artifact.forward(threads=threads)
        self._familiarity = self.artifact.familiarity()

    @property
    def name(self) -> str:
        """The network's name."""
        return self.card.name

    @property
    def version(self) -> str:
        """The network's version."""
        return self.card.version

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.card.sha256

    def read(self, rasters: Sequence[NDArray[np.uint8]]) -> list[PageReading]:
        """Find and classify the pages of decoded pictures, all at once.

        Parameters
        ----------
        rasters : sequence of uint8 (rows, columns) or (rows, columns, 3)

        Returns
        -------
        list of PageReading
            One for each raster, in order.
        """
        pages: list[Page | NotReadable] = []
        for raster in rasters:
            try:
                pages.append(find_page(raster))
            except NotReadable as refusal:
                pages.append(refusal)
        readings = iter(self.classify([page for page in pages if isinstance(page, Page)]))
        return [
            next(readings) if isinstance(page, Page) else PageReading(False, page.reason)
            for page in pages
        ]

    def classify(self, pages: Sequence[Page]) -> list[PageReading]:
        """Classify pages already found, all at once; one reading for each, in order."""
        if not pages:
            return []
        logits, features = self._forward(np.stack([pack(page.grey) for page in pages]))
        probabilities = self.card.calibration.probabilities(logits[:, : len(KEYS)])
        unfamiliarity = self._unfamiliarity(features)
        readings = []
        for row, page in enumerate(pages):
            quality = dict(page.quality)
            if unfamiliarity is not None:
                quality["unfamiliarity"] = round(float(unfamiliarity[row]), 3)
            kinds = self._kinds(logits[row])
            reason = _refusal(kinds, quality)
            findings = () if reason else self._findings(probabilities[row])
            readings.append(
                PageReading(reason is None, reason, findings, quality, page.region, kinds)
            )
        return readings

    def logits(self, packets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, 10) of packets (n, 224, 224, 3), before calibration."""
        return self._forward(packets)[0][:, : len(KEYS)]

    def features(self, packets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled features (n, channels) of packets (n, 224, 224, 3)."""
        return self._forward(packets)[1]

    def _unfamiliarity(self, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        if self._familiarity is None:
            return None
        return self._familiarity.distance(features) / self._familiarity.limit

    def _kinds(self, logits: NDArray[np.float32]) -> tuple[str, ...]:
        """Of which kinds a page is that are not read, the most probable first."""
        of_kinds = np.clip(logits[len(KEYS) : len(KEYS) + len(PAGE_KINDS)], -30.0, 30.0)
        probable = dict(zip(PAGE_KINDS, 1.0 / (1.0 + np.exp(-of_kinds)), strict=False))
        thresholds = self.card.page_kind_thresholds
        kinds = [kind for kind, limit in thresholds.items() if probable[kind] >= limit]
        return tuple(sorted(kinds, key=lambda kind: -probable[kind]))

    def _findings(self, probabilities: NDArray[np.float64]) -> tuple[Finding, ...]:
        calibration = self.card.calibration
        return tuple(
            Finding(
                key,
                float(value),
                calibration.threshold[key],
                calibration.verdict(key, float(value)),
            )
            for key, value in zip(KEYS, probabilities, strict=True)
        )


def _refusal(kinds: Sequence[str], quality: dict[str, float]) -> str | None:
    """Why a page is not read; what it is comes before how strange it is."""
    if kinds:
        return KIND_REASONS[kinds[0]]
    return UNFAMILIAR if quality.get("unfamiliarity", 0.0) > 1.0 else None
