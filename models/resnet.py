"""The residual network: pre-activation blocks, in the topology of keras-resnet.

The network takes the packet and gives ten logits; a sigmoid turns each into its own probability
(the findings do not exclude each other). Three ways in:

``packet``
    The packet as a colour picture: a 7x7 stem with stride 2. The first convolution then adds
    three unrelated windows of time at one place.
``unpacked``
    The packet's channels are first laid side by side again, (224, 224, 3) to (224, 672, 1),
    without any parameter, then a 7x15 stem with stride (2, 6) sees time run on across the cuts.
``squashed``
    The whole page, laid side by side and averaged to a third of its columns, (224, 224, 1): what
    many others feed a network with. Kept as a baseline.

Only Keras layers and ``keras.ops``: nothing here leans on one backend.

References
----------
He, Zhang, Ren, Sun, *Identity Mappings in Deep Residual Networks*, 2016 (pre-activation).
"""

from collections.abc import Sequence
from typing import Any

import keras

from models.architecture import DEPTHS, Architecture
from models.labels import KEYS
from models.packet import SIDE_PX, SLICES


def build(architecture: Architecture) -> Any:
    """Build the network, untrained.

    Returns
    -------
    keras.Model
        (batch, 224, 224, 3) packets, uint8 or float 0..255, to (batch, 10 + extra) logits: the
        first ten in the order of `models.labels.KEYS`, then what `Architecture.extra` says.
    """
    blocks, bottleneck = DEPTHS[architecture.depth]
    packet = keras.Input((SIDE_PX, SIDE_PX, SLICES), name="packet")
    # Paper becomes 0 and ink becomes 1, so that padding looks like paper.
    x = keras.layers.Rescaling(-1.0 / 255.0, offset=1.0, name="ink")(packet)
    if architecture.input_kind != "packet":
        x = keras.layers.Permute((1, 3, 2), name="slices_before_columns")(x)
        x = keras.layers.Reshape((SIDE_PX, SLICES * SIDE_PX, 1), name="side_by_side")(x)
    if architecture.input_kind == "unpacked":
        x = _convolve(x, architecture.width, (7, 15), (2, 6), "stem")
    else:
        if architecture.input_kind == "squashed":
            x = keras.layers.AveragePooling2D((1, SLICES), name="squashed")(x)
        x = _convolve(x, architecture.width, (7, 7), (2, 2), "stem")
    x = _activate(x, "stem")
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, count in enumerate(blocks):
        filters = architecture.width * 2**stage
        for index in range(count):
            x = _block(
                x,
                filters,
                stride=2 if stage > 0 and index == 0 else 1,
                bottleneck=bottleneck,
                activated=stage == 0 and index == 0,
                name=f"stage{stage + 1}_block{index + 1}",
            )
    x = _activate(x, "last")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(architecture.dropout, name="drop")(x)
    outputs = len(KEYS) + architecture.extra
    logits = keras.layers.Dense(outputs, dtype="float32", name="logits")(x)
    name = f"resnet{architecture.depth}_w{architecture.width}_{architecture.input_kind}"
    return keras.Model(packet, logits, name=name)


def _convolve(x: Any, filters: int, size: Sequence[int], strides: Sequence[int], name: str) -> Any:
    return keras.layers.Conv2D(
        filters,
        tuple(size),
        strides=tuple(strides),
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def _activate(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-5, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _block(
    x: Any, filters: int, *, stride: int, bottleneck: bool, activated: bool, name: str
) -> Any:
    """One residual block: normalise and activate *before* each convolution, add at the end.

    `activated` is true for the very first block, whose input the stem has activated already.
    """
    shortcut = x
    y = x if activated else _activate(x, f"{name}_a")
    step, same = (stride, stride), (1, 1)
    if bottleneck:
        y = _convolve(y, filters, (1, 1), step, f"{name}_a")
        y = _convolve(_activate(y, f"{name}_b"), filters, (3, 3), same, f"{name}_b")
        y = _convolve(_activate(y, f"{name}_c"), 4 * filters, (1, 1), same, f"{name}_c")
    else:
        y = _convolve(y, filters, (3, 3), step, f"{name}_a")
        y = _convolve(_activate(y, f"{name}_b"), filters, (3, 3), same, f"{name}_b")
    if stride != 1 or shortcut.shape[-1] != y.shape[-1]:
        shortcut = _convolve(shortcut, y.shape[-1], (1, 1), step, f"{name}_shortcut")
    return keras.layers.Add(name=f"{name}_add")([shortcut, y])
