"""A network on the signal itself: what the records can teach, drawing and reading apart.

    python -m models.evaluation.baselines --work /var/tmp/ecg-signal

A residual network in one dimension reads the twelve leads as numbers. It learns from the same
records with the same labels as the network on pages, and is judged on the same patients, so that
its figures are the ceiling of the data: what is lost below it, the picture cost; what it lacks
itself, the labels and their number do. It is never served.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.records import RATE_HZ, STATEMENTS, Record, add_corpus_argument, load
from models.labels import KEYS
from models.metrics import auroc

PATIENCE_EPOCHS: Final = 6
EMA: Final = 0.99
WEIGHTS: Final = "best.weights.h5"
RECIPE: Final = "signal.json"
_MICROVOLT_PER_UNIT: Final = 500.0
_BASELINE_S: Final = 0.8
_STATEMENTS_WEIGHT: Final = 0.3


@dataclass(frozen=True)
class SignalRecipe:
    """Everything that decides a run.

    Attributes
    ----------
    width : int
        Filters of the first stage; later stages have 2, 3 and 4 times as many.
    epochs, batch, seed : int
        An epoch draws as many ECGs as there are to train on.
    statements : bool
        Learn the sources' other statements as well, for better features; they are not reported.
    """

    width: int = 32
    epochs: int = 24
    batch: int = 32
    learning_rate: float = 3e-3
    seed: int = 1
    statements: bool = True


def prepared(records: Sequence[Record]) -> NDArray[np.float32]:
    """The leads as the network takes them: (n, 1250, 12), about -1..1, the baseline removed.

    Half the rate carries all that a rhythm or a bundle branch block shows. Part of the records
    have lost what is slower than 0.5 Hz; so that none is known by that, all lose it here.
    """
    out = np.empty((len(records), 1250, 12), np.float32)
    box = np.ones(round(_BASELINE_S * RATE_HZ / 2))
    box /= box.sum()
    for row, record in enumerate(records):
        signal = record.signal_uv.astype(np.float64).reshape(12, 1250, 2).mean(axis=2)
        padded = np.pad(signal, ((0, 0), (len(box), len(box))), mode="edge")
        slow = [np.convolve(np.convolve(lead, box, "same"), box, "same") for lead in padded]
        out[row] = (signal - np.array(slow)[:, len(box) : -len(box)]).T / _MICROVOLT_PER_UNIT
    return np.clip(out, -8.0, 8.0)


def build(width: int, outputs: int) -> Any:
    """Build the network, untrained: (batch, 1250, 12) to (batch, outputs) logits."""
    import keras

    def convolve(x: Any, filters: int, size: int, step: int) -> Any:
        return keras.layers.Conv1D(
            filters, size, step, "same", use_bias=False, kernel_initializer="he_normal"
        )(x)

    def activate(x: Any) -> Any:
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.95)(x))

    signal = keras.Input((1250, 12), name="signal")
    x = keras.layers.MaxPooling1D(2)(activate(convolve(signal, width, 11, 2)))
    for stage in range(4):
        filters = width * (stage + 1)
        for block in range(2):
            step = 2 if stage > 0 and block == 0 else 1
            y = convolve(activate(x), filters, 7, step)
            y = convolve(activate(y), filters, 7, 1)
            if step != 1 or x.shape[-1] != filters:
                x = convolve(x, filters, 1, step)
            x = keras.layers.Add()([x, y])
    x = activate(x)
    pools = [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
    x = keras.layers.Dropout(0.4)(keras.layers.Concatenate()(pools))
    return keras.Model(signal, keras.layers.Dense(outputs)(x), name=f"signal_w{width}")


def varied(signals: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The same ECGs recorded another time: shifted, stronger or weaker, noisier, a lead off."""
    n = len(signals)
    out = np.zeros_like(signals)
    for row, shift in enumerate(rng.integers(-60, 61, n)):
        kept = signals[row, max(0, -shift) : 1250 - max(0, shift)]
        out[row, max(0, shift) : max(0, shift) + len(kept)] = kept
    out *= rng.normal(1.0, 0.12, (n, 1, 1)) * rng.normal(1.0, 0.1, (n, 1, 12))
    out += rng.normal(0.0, 1.0, out.shape) * rng.uniform(0.0, 0.06, (n, 1, 1))
    out *= rng.random((n, 1, 12)) > 0.04
    return out


def labelled(records: Sequence[Record], *, statements: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and weights (n, 10 [+ statements])."""
    targets = np.stack([record.targets for record in records])
    weights = np.stack([record.known for record in records])
    if statements:
        more = np.stack([record.statements for record in records])
        targets = np.concatenate([targets, more], axis=1)
        weights = np.concatenate([weights, np.full_like(more, _STATEMENTS_WEIGHT)], axis=1)
    return targets, weights


def _batches(
    data: tuple[NDArray[Any], ...], recipe: SignalRecipe, rng: np.random.Generator
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Rare findings more often than they are, by the root of their frequency."""
    signals, targets, weights = data
    found = targets[:, : len(KEYS)]
    share = 1.0 / np.sqrt(np.maximum(found.sum(axis=0), 20.0))
    none = 1.0 / np.sqrt(max(20.0, float((found.sum(axis=1) == 0).sum())))
    chance = np.maximum((found * share).max(axis=1), none)
    for _ in range(len(signals) // recipe.batch):
        rows = rng.choice(len(signals), recipe.batch, p=chance / chance.sum())
        yield varied(signals[rows], rng), targets[rows], weights[rows]


def train_on_signals(recipe: SignalRecipe, corpus: Path, work: Path) -> Path:
    """Train, keep the best weights by validation, and return their folder."""
    import keras
    import tensorflow as tf
    from tqdm import tqdm

    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    records, check = (load(corpus, parts=(part,)) for part in ("train", "validation"))
    data = (prepared(records), *labelled(records, statements=recipe.statements))
    check_signals = prepared(check)
    check_targets, check_known = labelled(check, statements=False)
    steps = max(1, len(records) // recipe.batch)
    network = build(recipe.width, data[1].shape[1])
    averaged = build(recipe.width, data[1].shape[1])
    averaged.set_weights(network.get_weights())
    rate = keras.optimizers.schedules.CosineDecay(
        1e-5,
        decay_steps=steps * max(1, recipe.epochs - 1),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=steps,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=1.0)
    optimizer.build(network.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(signals: Any, targets: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(
                labels=targets, logits=network(signals, training=True)
            )
            loss = tf.reduce_sum(entropy * weights) / tf.reduce_sum(weights)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables)  # noqa: B905
        )
        for slow, fast in zip(averaged.weights, network.weights):  # noqa: B905
            slow.assign(EMA * slow + (1.0 - EMA) * fast)
        return loss

    (work / RECIPE).write_text(json.dumps(asdict(recipe), indent=2))
    best, stale = np.inf, 0
    for epoch in range(1, recipe.epochs + 1):
        began = time.monotonic()
        bar = tqdm(_batches(data, recipe, rng), total=steps, desc=f"epoch {epoch}", unit="step")
        losses = [float(step(*(tf.constant(a, tf.float32) for a in batch))) for batch in bar]
        loss, each = _judge(_logits(averaged, check_signals), check_targets, check_known)
        if loss < best - 1e-4:
            best, stale = loss, 0
            averaged.save_weights(str(work / WEIGHTS))
        else:
            stale += 1
        mean = float(np.mean(list(each.values()))) if each else 0.0
        print(
            f"epoch {epoch}: training loss {np.mean(losses):.4f}, validation loss {loss:.4f}, mean "
            f"AUROC {mean:.4f}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if stale >= PATIENCE_EPOCHS:
            break
    return work


def _judge(
    logits: NDArray[np.float32], targets: NDArray[Any], known: NDArray[Any]
) -> tuple[float, dict[str, float]]:
    entropy = np.logaddexp(0.0, logits.astype(np.float64)) - logits * targets
    each = {
        key: auroc(logits[known[:, c] > 0, c], targets[known[:, c] > 0, c])
        for c, key in enumerate(KEYS)
        if targets[:, c].sum() >= 3
    }
    return float((entropy * known).sum() / known.sum()), each


def _logits(network: Any, signals: NDArray[np.float32], *, batch: int = 64) -> NDArray[np.float32]:
    parts = [
        np.asarray(network(signals[start : start + batch], training=False))
        for start in range(0, len(signals), batch)
    ]
    return np.concatenate(parts)[:, : len(KEYS)]


def signal_logits(work: Path, records: Sequence[Record]) -> NDArray[np.float32]:
    """Logits (n, 10) of the trained network of a folder."""
    recipe = SignalRecipe(**json.loads((work / RECIPE).read_text()))
    network = build(recipe.width, len(KEYS) + (len(STATEMENTS) if recipe.statements else 0))
    network.load_weights(str(work / WEIGHTS))
    return _logits(network, prepared(records))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; its help explains each choice."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_corpus_argument(parser)
    parser.add_argument("--work", type=Path, required=True, help="where the best weights go")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main() -> None:
    """Train from the command line."""
    given = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    recipe = SignalRecipe(width=given.width, epochs=given.epochs, seed=given.seed)
    train_on_signals(recipe, given.corpus, given.work)


if __name__ == "__main__":
    main()
