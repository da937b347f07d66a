"""How far a page is from the pages the network learned from.

Rules tell most pictures from pages; what slips through them still looks unlike anything to the
network itself. Its pooled features of training pages form one cloud; the Mahalanobis distance of
a page from the middle of that cloud is measured with the cloud's own spread (Lee et al. 2018, *A
Simple Unified Framework for Detecting Out-of-Distribution Samples*), shrunk towards a round one
so that directions the training pages never used count, but not without bounds (Ledoit and Wolf
2004). A page is unlike the others when it lies further out than all but two in a thousand
validation pages.

Features count as the root of their share of all activation: pictures that are no pages excite the
network less than pages do, and lie near the middle of the cloud until that is taken out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.forward import BATCH_SIZES, Forward, convert
from models.packet import pack

LIMIT_SHARE: Final = 0.002
"""Share of validation pages, 0..1, that lie beyond the limit."""

_LEAST_SHRINKAGE: Final = 0.01


@dataclass(frozen=True)
class Familiarity:
    """The cloud of training pages, frozen with the network.

    Attributes
    ----------
    mean : float32 (channels,)
        Its middle, in roots of shares.
    whitening : float32 (channels, channels)
        ``(roots - mean) @ whitening`` has the distance as its length.
    limit : float
        The distance from which a page is unlike the others.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float

    def __post_init__(self) -> None:
        channels = len(self.mean)
        if self.mean.shape != (channels,) or self.whitening.shape != (channels, channels):
            raise ValueError(
                f"expected a mean (n,) and a whitening (n, n); "
                f"received {self.mean.shape} and {self.whitening.shape}"
            )
        finite = np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()
        if not finite or not 0.0 < self.limit < np.inf:
            raise ValueError("expected finite numbers and a limit above 0")

    def distance(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances (n,) of pages by their features (n, channels), in standard deviations."""
        away = (_roots(features) - self.mean) @ self.whitening.astype(np.float64)
        return np.asarray(np.linalg.norm(away, axis=1))

    def save(self, path: Path) -> None:
        """Write one file; the same values give the same bytes."""
        limit = np.float32(self.limit)
        with path.open("wb") as file:
            np.savez(file, mean=self.mean, whitening=self.whitening, limit=limit)

    @classmethod
    def load(cls, path: Path) -> "Familiarity":
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file holds anything else.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                return cls(held["mean"], held["whitening"], float(held["limit"]))
        except (KeyError, OSError) as fault:
            raise ValueError(f"{path.name} is no familiarity: {fault}") from fault


def features_of(network: Any, pages: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pooled features (n, channels) of kept pages (n, 224, 672), as they are when it serves."""
    forward = Forward(convert(network), outputs=network.output_shape[-1])
    size = BATCH_SIZES[-1]
    parts = [pages[start : start + size] for start in range(0, len(pages), size)]
    return np.concatenate(
        [forward(np.stack([pack(np.asarray(page)) for page in part]))[1] for part in parts]
    )


def fit(features: NDArray[np.float32], *, limit_features: NDArray[np.float32]) -> Familiarity:
    """Fit the cloud on training pages and place the limit on validation pages.

    Parameters
    ----------
    features : float32 (n, channels)
        Pooled features of training pages, two or more.
    limit_features : float32 (m, channels)
        Pooled features of pages that trained nothing.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected features of two or more pages; received {features.shape}")
    roots = _roots(features)
    mean = roots.mean(axis=0)
    spread, directions = np.linalg.eigh(_covariance(roots - mean))
    whitening = directions / np.sqrt(spread)
    cloud = Familiarity(mean.astype(np.float32), whitening.astype(np.float32), limit=1.0)
    limit = float(np.quantile(cloud.distance(limit_features), 1.0 - LIMIT_SHARE))
    return Familiarity(cloud.mean, cloud.whitening, float(np.float32(limit)))


def _roots(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Roots of each feature's share of its page's activation; features are 0 or more."""
    positive = np.maximum(features.astype(np.float64), 0.0)
    return np.asarray(np.sqrt(positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-9)))


def _covariance(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of centred features, shrunk as far as Ledoit and Wolf find best, and a little."""
    count, channels = away.shape
    sample = away.T @ away / count
    average = float(np.trace(sample)) / channels
    if average <= 0.0:
        raise ValueError("expected features that differ between pages")
    off = float(((sample - average * np.eye(channels)) ** 2).sum())
    noise = (float(((away**2).sum(axis=1) ** 2).mean()) - float((sample**2).sum())) / count
    weight = min(1.0, max(_LEAST_SHRINKAGE, noise / off if off > 0.0 else 1.0))
    shrunk: NDArray[np.float64] = (1.0 - weight) * sample + weight * average * np.eye(channels)
    return shrunk
