"""What must be known to build a network again. Importing this loads no network library."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

InputKind = Literal["packet", "unpacked", "squashed"]

INPUT_KINDS: Final[tuple[str, ...]] = get_args(InputKind)

#: Blocks a stage, and whether a block is a bottleneck, by the depth people call it by.
DEPTHS: Final[dict[int, tuple[tuple[int, ...], bool]]] = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}


@dataclass(frozen=True)
class Architecture:
    """What must be known to build the network again.

    Attributes
    ----------
    depth : int
        One of `DEPTHS`.
    width : int
        Filters of the first stage; every later stage has twice as many. keras-resnet has 64.
    input_kind : "packet", "unpacked" or "squashed"
        How the packet enters the stem, see `models.resnet`.
    dropout : float
        Share of the pooled features dropped while training, 0..1.
    extra : int
        Logits after the ten findings: `models.labels.PAGE_KINDS`, then statements of the sources
        that make better features while training and are never reported.
    """

    depth: int = 18
    width: int = 16
    input_kind: InputKind = "unpacked"
    dropout: float = 0.2
    extra: int = 0

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise ValueError(f"expected a depth of {sorted(DEPTHS)}; received {self.depth}")
        if self.width < 1:
            raise ValueError(f"expected a width of 1 or more; received {self.width}")
        if self.input_kind not in INPUT_KINDS:
            raise ValueError(
                f"expected input {' or '.join(INPUT_KINDS)}; received {self.input_kind!r}"
            )
        if self.extra < 0:
            raise ValueError(f"expected 0 or more extra logits; received {self.extra}")
