"""Where on the page the network found what it reports.

With average pooling before the logits, the share that each place of the last map has in a logit is
known exactly: its activation times the weight of its channel (Zhou et al. 2016, *Learning Deep
Features for Discriminative Localization*). But the last map has seven columns for ten seconds, and
a beat is shorter than that. Activation times gradient is the same quantity at every earlier depth,
on finer maps that alone mark every sharp wave (Jiang et al. 2021, *LayerCAM*), down to the ink
itself. A place is marked as far as all depths agree: their geometric mean is fine enough for one
beat and is lost when the weights are (Adebayo et al. 2018, *Sanity Checks for Saliency Maps*).

Where the network takes the packet's three windows one above the other, its maps serve all three;
the ink of each window has a gradient of its own, which tells them apart.

The map says what the network leaned on. It measures nothing, and is no finding.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.architecture import DEPTHS
from models.artifact import Artifact
from models.labels import index_of
from models.packet import SIDE_PX, SLICES, pack
from models.page import Page

#: How far the share of the ink is spread, as a share of the set size: a QRS on the laid-out page.
_SPREAD_SHARE: Final = 0.02


class Explainer:
    """Draws maps for one network; needs TensorFlow.

    Parameters
    ----------
    artifact : Artifact
        The network, with its weights.
    network : keras.Model, optional
        Other weights of the same architecture.
    """

    def __init__(self, artifact: Artifact, *, network: Any = None) -> None:
        self._architecture = artifact.card.architecture
        self._network = artifact.network() if network is None else network

    def explain(self, page: Page, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Map what speaks for each of some findings on a page.

        Parameters
        ----------
        page : Page
            As `models.page.find_page` made it.
        keys : sequence of str
            Of `models.labels.KEYS`.

        Returns
        -------
        dict of key to float32 (rows, columns)
            In the shape of ``page.grey``, 0..1, 1 at the strongest place; all 0 where nothing
            speaks for the finding.
        """
        packet = pack(page.grey)
        rows, columns = page.grey.shape
        maps = {}
        for key in keys:
            laid_out = self._laid_out(packet, index_of(key))
            maps[key] = _to_one(cv2.resize(laid_out, (columns, rows)))
        return maps

    @cached_property
    def _gradients(self) -> Any:
        """Packet, column of the logits -> maps, their gradients and the input's; traced once."""
        import keras
        import tensorflow as tf

        network = self._network
        outputs = [network.get_layer(name).output for name in self._depths()]
        probe = keras.Model(network.input, [*outputs, network.output])

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec((1, SIDE_PX, SIDE_PX, SLICES), tf.float32),
                tf.TensorSpec((), tf.int32),
            ]
        )
        def gradients(packets: Any, column: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(packets)
                *maps, logits = probe(packets, training=False)
                logit = tf.gather(logits, column, axis=1)
            return maps, tape.gradient(logit, [*maps, packets])

        return gradients

    def _depths(self) -> list[str]:
        """The layers whose maps are drawn on: the end of each stage."""
        blocks, _ = DEPTHS[self._architecture.depth]
        ends = [f"stage{stage}_block{count}_add" for stage, count in enumerate(blocks, start=1)]
        return [*ends[:-1], "last_relu"]

    def _laid_out(self, packet: NDArray[np.uint8], column: int) -> NDArray[np.float32]:
        """The map over the three windows side by side, (224, 672)."""
        given = packet.astype(np.float32)
        maps, (*slopes, slope) = self._gradients(given[None], np.int32(column))
        superposed = self._architecture.input_kind == "packet"
        ink = (given - 255.0) * np.asarray(slope)[0]
        ink = ink.transpose(0, 2, 1).reshape(SIDE_PX, SLICES * SIDE_PX)
        agreed = _speaks_for(cv2.GaussianBlur(ink, (0, 0), _SPREAD_SHARE * SIDE_PX))
        for values, gradient in zip(maps, slopes, strict=True):
            share = _speaks_for((np.asarray(values) * np.asarray(gradient)).sum(axis=-1)[0])
            size = (SIDE_PX if superposed else SLICES * SIDE_PX, SIDE_PX)
            fine = np.maximum(cv2.resize(share, size, interpolation=cv2.INTER_CUBIC), 0.0)
            agreed *= np.tile(fine, (1, SLICES)) if superposed else fine
        return _to_one(agreed ** (1.0 / (len(maps) + 1)))


def _speaks_for(share: NDArray[Any]) -> NDArray[np.float64]:
    """What speaks for a finding, as a part of the most; what speaks against it is left out."""
    return _to_one(np.maximum(share, 0.0)).astype(np.float64)


def _to_one(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scale to a maximum of 1; nothing stays nothing."""
    most = float(values.max())
    return np.asarray(values / most if most > 0.0 else values, np.float32)
