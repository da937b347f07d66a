"""Train the network on real ECGs drawn as pages.

    python -m models.train --corpus "$ECG_CORPUS_DIR" --work /var/tmp/ecg-train

Draws every training record in several layouts and styles (once, into a cache), adds simulated ECGs
for the rare findings, and trains with class-balanced sampling, the four augmentations, AdamW with
warm-up and cosine decay, and an exponential moving average of the weights. Every epoch leaves a
checkpoint; starting again with the same --work goes on where it stopped. Training ends when
neither the validation loss nor the validation AUROC has improved for five epochs.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.architecture import Architecture
from models.augment import augment
from models.corpus.layouts import TRAINING_LAYOUTS
from models.corpus.pages import Order, layouts_for, make_cache, packed
from models.corpus.records import Record, load
from models.corpus.simulate import simulate
from models.labels import KEYS, index_of
from models.metrics import auroc

PATIENCE_EPOCHS: Final = 5
EMA: Final = 0.998

#: Simulated ECGs a class, for training only: as many as the real ones are too few.
SIMULATED: Final = {
    "pvc": 80,
    "preexcitation": 220,
    "clbbb": 40,
    "crbbb": 40,
    "af": 40,
    "afl": 220,
    "atrial_escape": 300,
    "pac": 120,
    "at": 300,
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, written beside its checkpoints."""

    architecture: Architecture
    seed: int = 1
    epochs: int = 40
    steps: int = 150
    batch: int = 32
    variants: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_epochs: int = 2


@dataclass(frozen=True)
class Pages:
    """Drawn pages with their labels: (n, 224, 672), (n, 10), (n, 10)."""

    pages: NDArray[np.uint8]
    targets: NDArray[np.float32]
    known: NDArray[np.float32]


def training_pages(records: Sequence[Record], work: Path, recipe: Recipe) -> Pages:
    """Draw the training records in several layouts, and the simulated ECGs once each."""
    orders: list[Order] = []
    targets: list[NDArray[np.float32]] = []
    known: list[NDArray[np.float32]] = []
    for index, record in enumerate(records):
        rare = record.targets[1:].any() or not record.known.all()
        for step, layout in enumerate(layouts_for(index, recipe.variants * (2 if rare else 1))):
            orders.append(
                Order(record.signal_uv, layout, recipe.seed * 1_000_003 + 64 * index + step)
            )
            targets.append(record.targets)
            known.append(record.known)
    for key, count in SIMULATED.items():
        for number in range(count):
            place = len(orders)
            layout = TRAINING_LAYOUTS[place % len(TRAINING_LAYOUTS)]
            orders.append(Order(simulate(key, number), layout, 77_000_000 + place))
            target = np.zeros(len(KEYS), np.float32)
            target[index_of(key)] = 1.0
            targets.append(target)
            known.append(np.ones(len(KEYS), np.float32))
    pages = make_cache(work / "training.u8", orders, describe="drawing training pages")
    return Pages(pages, np.stack(targets), np.stack(known))


def judging_orders(records: Sequence[Record]) -> list[Order]:
    """One page of each record, the layouts in turn."""
    return [
        Order(record.signal_uv, layouts_for(index, 1)[0], 990_000_000 + index)
        for index, record in enumerate(records)
    ]


def judging_pages(records: Sequence[Record], work: Path, *, name: str) -> Pages:
    """Draw the records of validation or test once each, the layouts in turn, undisturbed seeds."""
    orders = judging_orders(records)
    pages = make_cache(work / f"{name}.u8", orders, describe=f"drawing {name} pages")
    return Pages(
        pages,
        np.stack([record.targets for record in records]),
        np.stack([record.known for record in records]),
    )


def balanced_shares() -> NDArray[np.float64]:
    """How often each finding is asked for; what is left to 1 is for ECGs with none of them."""
    weights = np.array([1.6, *[1.0] * (len(KEYS) - 1), 1.6])
    shares: NDArray[np.float64] = (weights / weights.sum())[:-1]
    return shares


def balanced(data: Pages, rng: np.random.Generator) -> Iterator[int]:
    """Yield row numbers so that each finding, and none of them, is drawn equally often."""
    groups = [np.flatnonzero(data.targets[:, column] > 0) for column in range(len(KEYS))]
    groups.append(np.flatnonzero(data.targets.sum(axis=1) == 0))
    shares = np.append(balanced_shares(), 0.0)
    shares[-1] = 1.0 - shares.sum()
    shares *= [len(group) > 0 for group in groups]
    shares /= shares.sum()
    while True:
        yield int(rng.choice(groups[int(rng.choice(len(groups), p=shares))]))


def stream(data: Pages, seed: int) -> Any:
    """A tf.data of augmented, packed training samples: packet, targets, known."""
    import tensorflow as tf

    def samples() -> Iterator[tuple[Any, Any, Any]]:
        rng = np.random.default_rng(seed)
        for row in balanced(data, rng):
            packet = packed(augment(np.asarray(data.pages[row]), rng))
            yield packet, data.targets[row], data.known[row]

    shapes = (
        tf.TensorSpec((224, 224, 3), tf.uint8),
        tf.TensorSpec((len(KEYS),), tf.float32),
        tf.TensorSpec((len(KEYS),), tf.float32),
    )
    return tf.data.Dataset.from_generator(samples, output_signature=shapes)


def masked_loss(logits: Any, targets: Any, known: Any) -> Any:
    """Binary cross-entropy over the known labels, each finding by itself."""
    import tensorflow as tf

    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return tf.reduce_sum(entropy * known) / tf.reduce_sum(known)


def logits_of(network: Any, pages: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
    """Logits (n, 10) of kept pages (n, 224, 672), in fixed shapes."""
    import tensorflow as tf

    forward = tf.function(lambda packets: network(packets, training=False), reduce_retracing=True)
    out = []
    for start in range(0, len(pages), batch):
        part = [packed(np.asarray(page)) for page in pages[start : start + batch]]
        padded = np.zeros((batch, 224, 224, 3), np.uint8)
        padded[: len(part)] = part
        out.append(forward(tf.constant(padded)).numpy()[: len(part)])
    return np.concatenate(out)


def judge(network: Any, data: Pages) -> tuple[float, float, dict[str, float]]:
    """Validation loss, mean AUROC of findings with 3 or more positives or 0, each AUROC."""
    logits = logits_of(network, data.pages).astype(np.float64)
    entropy = np.logaddexp(0.0, logits) - logits * data.targets
    loss = float((entropy * data.known).sum() / data.known.sum())
    each = {}
    for column, key in enumerate(KEYS):
        rows = data.known[:, column] > 0
        if data.targets[rows, column].sum() >= 3:
            each[key] = auroc(logits[rows, column], data.targets[rows, column])
    return loss, float(np.mean(list(each.values()))) if each else 0.0, each


def train(recipe: Recipe, corpus: Path, work: Path) -> Path:
    """Run, or go on with, a training; return the folder with the best weights."""
    import keras
    import tensorflow as tf

    from models.resnet import build

    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    strategy = (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_physical_devices("GPU")) > 1
        else tf.distribute.get_strategy()
    )
    fit = training_pages(load(corpus, parts=("train",)), work, recipe)
    check = judging_pages(load(corpus, parts=("validation",)), work, name="validation")
    total, warm = recipe.epochs * recipe.steps, recipe.warmup_epochs * recipe.steps
    with strategy.scope():
        network = build(recipe.architecture)
        rate = keras.optimizers.schedules.CosineDecay(
            1e-5,
            decay_steps=total - warm,
            alpha=0.01,
            warmup_target=recipe.learning_rate,
            warmup_steps=warm,
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, clipnorm=1.0)
        optimizer.exclude_from_weight_decay(var_names=["bn", "bias", "gamma", "beta"])
        optimizer.build(network.trainable_variables)
        averaged = build(recipe.architecture)
        averaged.set_weights(network.get_weights())
    saved = tf.train.Checkpoint(network=network, averaged=averaged, optimizer=optimizer)
    manager = tf.train.CheckpointManager(saved, str(work / "checkpoints"), max_to_keep=2)
    progress = work / "progress.json"
    state: dict[str, Any] = {
        "epoch": 0,
        "best_auroc": 0.0,
        "best_loss": 1e9,
        "best_epoch": 0,
        "stale": 0,
    }
    if manager.latest_checkpoint and progress.is_file():
        saved.restore(manager.latest_checkpoint).expect_partial()
        state = json.loads(progress.read_text())
        print(f"going on after epoch {state['epoch']}", flush=True)
    (work / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))

    def step(packets: Any, targets: Any, known: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = masked_loss(network(packets, training=True), targets, known)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        for slow, fast in zip(averaged.weights, network.weights, strict=True):
            slow.assign(EMA * slow + (1.0 - EMA) * fast)
        return loss

    @tf.function  # type: ignore[untyped-decorator]
    def distributed_step(packets: Any, targets: Any, known: Any) -> Any:
        losses = strategy.run(step, args=(packets, targets, known))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    from tqdm import tqdm

    while state["epoch"] < recipe.epochs and state["stale"] < PATIENCE_EPOCHS:
        epoch = state["epoch"] + 1
        batches = stream(fit, seed=recipe.seed * 1000 + epoch).batch(recipe.batch).prefetch(4)
        batches = strategy.experimental_distribute_dataset(batches.take(recipe.steps))
        began, losses = time.monotonic(), []
        bar = tqdm(batches, total=recipe.steps, desc=f"epoch {epoch}/{recipe.epochs}", unit="step")
        for sample in bar:
            losses.append(float(distributed_step(*sample)))
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}")
        loss, mean, each = judge(averaged, check)
        better = mean > state["best_auroc"] + 1e-4 or loss < state["best_loss"] - 1e-4
        if mean >= state["best_auroc"]:
            averaged.save_weights(str(work / "best.weights.h5"))
            state["best_epoch"] = epoch
        state["best_auroc"] = max(mean, state["best_auroc"])
        state["best_loss"] = min(loss, state["best_loss"])
        state["stale"] = 0 if better else state["stale"] + 1
        state["epoch"] = epoch
        manager.save()
        progress.write_text(json.dumps(state))
        _log(
            work / "log.csv",
            epoch,
            float(np.mean(losses)),
            loss,
            mean,
            each,
            time.monotonic() - began,
        )
        print(
            f"epoch {epoch}: training loss {np.mean(losses):.4f}, validation loss {loss:.4f}, "
            f"mean AUROC {mean:.4f} (best {state['best_auroc']:.4f})",
            flush=True,
        )
    return work


def _log(
    path: Path,
    epoch: int,
    fit: float,
    loss: float,
    mean: float,
    each: dict[str, float],
    took: float,
) -> None:
    is_new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["epoch", "training_loss", "loss", "auroc", "seconds", *KEYS])
        values = [f"{each[key]:.4f}" if key in each else "" for key in KEYS]
        writer.writerow([epoch, f"{fit:.4f}", f"{loss:.4f}", f"{mean:.4f}", f"{took:.0f}", *values])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; its help explains each choice."""
    parser = argparse.ArgumentParser(
        prog="python -m models.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=os.environ.get("ECG_CORPUS_DIR"),
        help="folder of real ECGs (default: ECG_CORPUS_DIR)",
    )
    parser.add_argument("--work", type=Path, required=True, help="cache, checkpoints, log")
    parser.add_argument("--input", choices=("unpacked", "packet"), default="unpacked")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=150, help="batches an epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--variants", type=int, default=3, help="pages drawn of each record")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.corpus is None:
        parser.error("no corpus: give --corpus or set ECG_CORPUS_DIR")
    return given


def main() -> None:
    """Train from the command line."""
    given = parse()
    recipe = Recipe(
        Architecture(given.depth, given.width, given.input),
        seed=given.seed,
        epochs=given.epochs,
        steps=given.steps,
        batch=given.batch,
        variants=given.variants,
    )
    train(recipe, Path(given.corpus), given.work)


if __name__ == "__main__":
    main()
