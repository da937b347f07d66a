"""What must be known to build a network again. Importing this loads no network library."""

from dataclasses import dataclass
from typing import Final, Literal

InputKind = Literal["packet", "unpacked"]

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
    input_kind : "packet" or "unpacked"
        How the packet enters the stem.
    dropout : float
        Share of the pooled features dropped while training, 0..1.
    """

    depth: int = 18
    width: int = 16
    input_kind: InputKind = "unpacked"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise ValueError(f"expected a depth of {sorted(DEPTHS)}; received {self.depth}")
        if self.width < 1:
            raise ValueError(f"expected a width of 1 or more; received {self.width}")
        if self.input_kind not in ("packet", "unpacked"):
            raise ValueError(f"expected input packet or unpacked; received {self.input_kind!r}")
