"""Predictor: a network loaded once, pages in, calibrated findings out.

TensorFlow is imported when a Predictor is made, not with this module: processes that only name
these types stay light. Pages run through one traced function in a few fixed batch sizes, several
times faster than ``predict()`` on single pictures.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.artifact import Artifact, ModelCard
from models.calibrate import Verdict
from models.labels import KEYS
from models.packet import SIDE_PX, SLICES, pack
from models.page import Corner, NotReadable, Page, find_page

_BATCH_SIZES: Final = (1, 4, 16)


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
        As `models.page.Page` measured it.
    region : four (column, row) corners, or None
        The tracing in the picture.
    """

    readable: bool
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    quality: dict[str, float] = field(default_factory=dict)
    region: tuple[Corner, ...] | None = None


class Predictor:
    """A verified network, ready to read.

    Parameters
    ----------
    folder : Path
        An artifact.

    Raises
    ------
    models.artifact.ArtifactError
        The folder is no artifact, or a file is not the one its hash names.
    """

    def __init__(self, folder: Path) -> None:
        artifact = Artifact.load(folder).verify()
        self.card: ModelCard = artifact.card
        self._forward = _load(artifact)
        self._lock = threading.Lock()

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
        probabilities = self.card.calibration.probabilities(
            self.logits(np.stack([pack(page.grey) for page in pages]))
        )
        return [
            PageReading(True, None, self._findings(row), dict(page.quality), page.region)
            for page, row in zip(pages, probabilities, strict=True)
        ]

    def logits(self, packets: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, 10) of packets (n, 224, 224, 3), before calibration."""
        out, start = [], 0
        with self._lock:
            while start < len(packets):
                left = len(packets) - start
                size = next((s for s in _BATCH_SIZES if s >= left), _BATCH_SIZES[-1])
                part = packets[start : start + size]
                padded = np.zeros((size, SIDE_PX, SIDE_PX, SLICES), np.uint8)
                padded[: len(part)] = part
                out.append(np.asarray(self._forward(padded))[: len(part)])
                start += size
        return np.concatenate(out).astype(np.float32)

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


def _load(artifact: Artifact) -> Any:
    """Build the network, load its weights, and trace its forward pass."""
    # A machine without a GPU is no news worth a screen of warnings.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from models.resnet import build

    network = build(artifact.card.architecture)
    network.load_weights(str(artifact.weights))

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, SIDE_PX, SIDE_PX, SLICES), tf.uint8)]
    )
    def forward(packets: Any) -> Any:
        return network(packets, training=False)

    return lambda packets: forward(tf.constant(packets)).numpy()
