"""A training that must learn nothing: the same ECGs with the labels of others.

Were the answer anywhere but in the trace (a patient on both sides, a page that betrays its label,
a figure that is kind to everything), a network trained on shuffled labels would still find it in
the test set. The same short training with the right labels stands beside it: it shows that the
schedule learns at all.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.architecture import Architecture
from models.augment import augment
from models.corpus.lessons import judging_orders
from models.corpus.pages import packed
from models.corpus.records import Record
from models.evaluation.judgement import Truth, macro_auroc
from models.evaluation.sheets import Drawing, Sheet, draw_sheet

_NETWORK: Final = Architecture(depth=10, width=8, dropout=0.0)
_ECGS: Final = 1200
_STEPS: Final = 400
_BATCH: Final = 24
_RATE: Final = 3e-3


def shuffled_training(
    train: Sequence[Record],
    test: Sequence[Record],
    sheet: Sheet,
    work: Path,
    *,
    pool: Executor,
    steps: int = _STEPS,
    ecgs: int = _ECGS,
) -> dict[str, float]:
    """Train twice in small, on right and on shuffled labels; macro AUROC of each on test pages.

    Parameters
    ----------
    train, test : records of training and of test patients
    sheet : Sheet
        One page of each of `test`.
    work : Path
        Of the cache of drawn pages.
    pool : Executor
        That draws.
    steps, ecgs : int
        Of the tiny schedule; ECGs with a rare finding are taken first.
    """
    rare = [r for r in train if r.targets[1:].any()]
    others = [r for r in train if not r.targets[1:].any()]
    chosen = [*rare, *others][:ecgs]
    drawings = [Drawing(replace(order, effect="clean")) for order in judging_orders(chosen)]
    lessons = draw_sheet("control lessons", drawings, work, pool=pool)
    truth, right = Truth.of(test), Truth.of(chosen)
    order = np.random.default_rng(3).permutation(len(chosen))
    results = {}
    for name, targets, known in (
        ("right_labels", right.targets, right.known),
        ("shuffled_labels", right.targets[order], right.known[order]),
    ):
        network = _trained(lessons.pages, targets, known, steps=steps, describe=name)
        results[name] = macro_auroc(_logits(network, sheet.pages), truth)
    return results


def _trained(
    pages: NDArray[np.uint8],
    targets: NDArray[np.float32],
    known: NDArray[np.float32],
    *,
    steps: int,
    describe: str,
) -> Any:
    import keras
    import tensorflow as tf
    from tqdm import tqdm

    from models.resnet import build
    from models.train import masked_loss

    keras.utils.set_random_seed(1)
    network = build(_NETWORK)
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps, alpha=0.02)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=1.0)
    optimizer.build(network.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(packets: Any, labels: Any, counted: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = masked_loss(network(packets, training=True), labels, counted)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    rng = np.random.default_rng(2)
    chance = _balanced(targets)
    for _ in tqdm(range(steps), desc=f"training on {describe.replace('_', ' ')}", unit="step"):
        rows = rng.choice(len(pages), _BATCH, p=chance)
        packets = np.stack([packed(augment(np.asarray(pages[row]), rng)) for row in rows])
        step(tf.constant(packets), tf.constant(targets[rows]), tf.constant(known[rows]))
    return network


def _balanced(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """How often each ECG is shown, so that each finding, and none, is shown equally often."""
    none = (targets.sum(axis=1, keepdims=True) == 0).astype(np.float64)
    groups = np.concatenate([targets, none], axis=1)
    chance = (groups / np.maximum(groups.sum(axis=0), 20.0)).sum(axis=1)
    return np.asarray(chance / chance.sum())


def _logits(network: Any, pages: NDArray[np.uint8]) -> NDArray[np.float64]:
    from models.train import logits_of

    return logits_of(network, pages).astype(np.float64)
