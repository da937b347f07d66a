"""Train the network on real ECGs drawn as pages, on a folder of labelled pictures, or on both.

    python -m models.train --corpus "$ECG_CORPUS_DIR" --work /var/tmp/ecg-train
    python -m models.train --pictures OUR_ECGS --start models/store/NAME-VERSION --work RUN

Draws every training record in several layouts and styles (once, into a cache in --work), adds real
beats edited into the rare rhythms, and trains with class-balanced sampling, the four augmentations,
AdamW with warm-up and cosine decay, and an exponential moving average of the weights. Every epoch
leaves a checkpoint; starting again with the same --work goes on where it stopped. Training ends
when neither the validation loss nor the validation AUROC has improved for five epochs.

With --pictures a hospital's own labelled pictures (a folder with labels.csv, see
models.corpus.pictures) train as well; with --start the training begins from a network that is
already there instead of from nothing.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.architecture import INPUT_KINDS, Architecture
from models.artifact import Artifact
from models.augment import augment
from models.corpus.lessons import (
    EXTRAS,
    Lessons,
    judging_pages,
    picture_lessons,
    training_lessons,
)
from models.corpus.pages import packed
from models.corpus.records import Part, add_corpus_argument, load
from models.labels import KEYS, PAGE_KINDS
from models.metrics import auroc

PATIENCE_EPOCHS: Final = 5
#: What a wrong statement of the sources weighs against a wrong finding.
STATEMENT_WEIGHT: Final = 0.3
#: How many pages of each validation ECG choose the epoch.
VALIDATION_PAGES: Final = 2


class TrainingError(ValueError):
    """Nothing to train with; the message says what is missing."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, written beside its checkpoints.

    Attributes
    ----------
    architecture : Architecture
    seed : int
        Of the weights, the order of the pages and their augmentation.
    epochs, steps, batch : int
        An epoch is `steps` batches; the rate falls to almost nothing over `epochs`.
    learning_rate, weight_decay : float
        Of AdamW; the rate at its highest.
    warmup_epochs : int
        How long the rate rises.
    average : float
        Of the moving average of the weights, a step; what is judged and kept.
    start : str
        Name of the network the training began from; empty for none.
    shuffled_labels : bool
        Train on other ECGs' labels: a control that must learn nothing.
    frozen : bool
        Only the last layer learns; the features stay those of the network it began from.
    """

    architecture: Architecture
    seed: int = 1
    epochs: int = 40
    steps: int = 150
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_epochs: int = 2
    average: float = 0.998
    start: str = ""
    shuffled_labels: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to, on validation where nothing else is said.

    Attributes
    ----------
    number, epochs : int
        Which of how many, from 1.
    training_loss, loss : float
    auroc : float
        Mean over the findings with 3 or more positives; 0 without one.
    seconds : float
        How long it took.
    """

    number: int
    epochs: int
    training_loss: float
    loss: float
    auroc: float
    seconds: float


def lessons_of(part: Part, *, corpus: Path | None, pictures: Path | None, work: Path) -> Lessons:
    """The pages of one part of the split, from the corpus, from labelled pictures, or from both.

    Raises
    ------
    TrainingError
        There are none.
    """
    found: list[Lessons] = []
    if corpus is not None:
        records = load(corpus, parts=(part,))
        found.append(
            training_lessons(records, work)
            if part == "train"
            else judging_pages(
                records, work, name=part, pages=VALIDATION_PAGES if part == "validation" else 1
            )
        )
    if pictures is not None:
        found.append(picture_lessons(pictures, work, part=part))
    whole = [lessons for lessons in found if len(lessons)]
    if not whole:
        raise TrainingError(f"expected ECGs of {part} patients; found none that can be read")
    together = whole[0]
    for lessons in whole[1:]:
        together += lessons
    if part != "train":
        ten = slice(len(KEYS))
        return replace(together, targets=together.targets[:, ten], known=together.known[:, ten])
    return together


def balanced_shares() -> NDArray[np.float64]:
    """How often each finding is asked for; what is left to 1 is for ECGs with none of them."""
    shares: NDArray[np.float64] = (_WEIGHTS / _WEIGHTS.sum())[: len(KEYS)]
    return shares


#: Of the ten findings, of none of them, and of the page kinds.
_WEIGHTS: Final = np.array([1.8, *[1.0] * (len(KEYS) - 1), 1.8, *[0.4] * len(PAGE_KINDS)])


def balanced(data: Lessons, rng: np.random.Generator) -> Iterator[int]:
    """Yield row numbers so that each finding, none of them, and each page kind come in turn."""
    ten, kinds = data.targets[:, : len(KEYS)], data.targets[:, len(KEYS) :]
    asked = data.known[:, : len(KEYS)].any(axis=1)
    groups = [np.flatnonzero(ten[:, column] > 0) for column in range(len(KEYS))]
    groups.append(np.flatnonzero((ten.sum(axis=1) == 0) & asked))
    groups += [np.flatnonzero(kinds[:, column] > 0) for column in range(len(PAGE_KINDS))]
    shares = _WEIGHTS * [len(group) > 0 for group in groups]
    shares = shares / shares.sum()
    while True:
        yield int(rng.choice(groups[int(rng.choice(len(groups), p=shares))]))


def stream(data: Lessons, seed: int) -> Any:
    """A tf.data of augmented, packed training samples: packet, targets, known."""
    import tensorflow as tf

    def samples() -> Iterator[tuple[Any, Any, Any]]:
        rng = np.random.default_rng(seed)
        for row in balanced(data, rng):
            packet = packed(augment(data.page(row), rng))
            yield packet, data.targets[row], data.known[row]

    width = data.targets.shape[1]
    shapes = (
        tf.TensorSpec((224, 224, 3), tf.uint8),
        tf.TensorSpec((width,), tf.float32),
        tf.TensorSpec((width,), tf.float32),
    )
    return tf.data.Dataset.from_generator(samples, output_signature=shapes)


def masked_loss(logits: Any, targets: Any, known: Any) -> Any:
    """Binary cross-entropy over the known labels, each logit by itself; statements weigh less."""
    import tensorflow as tf

    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    answers = len(KEYS) + len(PAGE_KINDS)
    width = int(logits.shape[-1])
    weights = np.full(width, STATEMENT_WEIGHT, np.float32)
    weights[:answers] = 1.0
    counted = known * weights
    return tf.reduce_sum(entropy * counted) / tf.maximum(tf.reduce_sum(counted), 1.0)


def logits_of(network: Any, pages: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
    """Logits (n, 10 + extra) of kept pages (n, 224, 672), in fixed shapes."""
    import tensorflow as tf

    forward = tf.function(lambda packets: network(packets, training=False), reduce_retracing=True)
    out = []
    for start in range(0, len(pages), batch):
        part = [packed(np.asarray(page)) for page in pages[start : start + batch]]
        padded = np.zeros((batch, 224, 224, 3), np.uint8)
        padded[: len(part)] = part
        out.append(forward(tf.constant(padded)).numpy()[: len(part)])
    return np.concatenate(out)


def judge(network: Any, data: Lessons) -> tuple[float, float, dict[str, float]]:
    """Validation loss, mean AUROC of findings with 3 or more positives or 0, each AUROC."""
    logits = logits_of(network, data.pages)[:, : len(KEYS)].astype(np.float64)
    targets, known = data.targets[:, : len(KEYS)], data.known[:, : len(KEYS)]
    entropy = np.logaddexp(0.0, logits) - logits * targets
    loss = float((entropy * known).sum() / known.sum())
    each = {}
    for column, key in enumerate(KEYS):
        rows = known[:, column] > 0
        if targets[rows, column].sum() >= 3:
            each[key] = auroc(logits[rows, column], targets[rows, column])
    each = {key: value for key, value in each.items() if np.isfinite(value)}
    return loss, float(np.mean(list(each.values()))) if each else 0.0, each


def load_start(network: Any, folder: Path) -> None:
    """Give a fresh network the weights of an artifact, as far as both have them.

    Logits that the artifact does not answer for stay fresh.

    Raises
    ------
    models.artifact.ArtifactError
        The folder is no artifact.
    ValueError
        Depth or width differ.
    """
    from models.resnet import build

    artifact = Artifact.load(folder).verify()
    theirs = artifact.card.architecture
    source = build(theirs)
    source.load_weights(str(artifact.weights))
    for layer in network.layers:
        given, own = source.get_layer(layer.name).get_weights(), layer.get_weights()
        if layer.name == "logits":
            both = min(own[0].shape[1], given[0].shape[1])
            for mine, other in zip(own, given, strict=True):
                mine[..., :both] = other[..., :both]
            layer.set_weights(own)
        else:
            layer.set_weights(given)


def train(
    recipe: Recipe,
    work: Path,
    *,
    corpus: Path | None = None,
    pictures: Path | None = None,
    start: Path | None = None,
    lessons: tuple[Lessons, Lessons] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Path:
    """Run, or go on with, a training; return the folder with the best weights.

    Parameters
    ----------
    recipe : Recipe
    work : Path
        Caches, checkpoints, log; made if absent. ``best.weights.h5`` is what came out.
    corpus, pictures : Path or None
        Folder of records, folder of labelled pictures; at least one of them.
    start : Path or None
        An artifact to begin from.
    lessons : two of Lessons, or None
        Pages to train on and pages to choose the epoch by, in place of corpus and pictures.
    on_step : callable, optional
        Called after each step with how many are done and how many there are at most. What it
        raises ends the training; another run with the same `work` goes on after the last epoch.
    on_epoch : callable, optional
        Called after each epoch, once it can be gone on from. With either, nothing is printed.

    Raises
    ------
    TrainingError
        No ECG to train with, or none to choose the epoch by.
    """
    import keras
    import tensorflow as tf
    from tqdm import tqdm

    from models.resnet import build

    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    strategy = (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_physical_devices("GPU")) > 1
        else tf.distribute.get_strategy()
    )
    if lessons is None:
        fit = lessons_of("train", corpus=corpus, pictures=pictures, work=work)
        check = lessons_of("validation", corpus=corpus, pictures=pictures, work=work)
    else:
        fit, check = lessons
        if not len(fit) or not len(check):
            raise TrainingError("expected pages to train on and pages to choose the epoch by")
    if recipe.shuffled_labels:
        order = np.random.default_rng(recipe.seed).permutation(len(fit))
        fit = replace(fit, targets=fit.targets[order], known=fit.known[order])
    total, warm = recipe.epochs * recipe.steps, recipe.warmup_epochs * recipe.steps
    with strategy.scope():
        network = build(recipe.architecture)
        if start is not None:
            load_start(network, start)
        if recipe.frozen:
            _freeze(network)
        rate = keras.optimizers.schedules.CosineDecay(
            1e-5,
            decay_steps=max(1, total - warm),
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
    is_watched = on_step is not None or on_epoch is not None
    say = _silent if is_watched else _say
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
        say(f"going on after epoch {state['epoch']}")
    (work / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n")

    def step(packets: Any, targets: Any, known: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = masked_loss(network(packets, training=True), targets, known)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        for slow, fast in zip(averaged.weights, network.weights, strict=True):
            slow.assign(recipe.average * slow + (1.0 - recipe.average) * fast)
        return loss

    @tf.function  # type: ignore[untyped-decorator]
    def distributed_step(packets: Any, targets: Any, known: Any) -> Any:
        losses = strategy.run(step, args=(packets, targets, known))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    while state["epoch"] < recipe.epochs and state["stale"] < PATIENCE_EPOCHS:
        epoch = state["epoch"] + 1
        batches = stream(fit, seed=recipe.seed * 1000 + epoch).batch(recipe.batch).prefetch(4)
        batches = strategy.experimental_distribute_dataset(batches.take(recipe.steps))
        began, losses = time.monotonic(), []
        name = f"epoch {epoch}/{recipe.epochs}"
        bar = tqdm(batches, total=recipe.steps, desc=name, unit="step", disable=is_watched)
        for sample in bar:
            losses.append(float(distributed_step(*sample)))
            if on_step is not None:
                on_step(state["epoch"] * recipe.steps + len(losses), total)
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.4f}", refresh=False)
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
        took = time.monotonic() - began
        _log(work / "log.csv", epoch, float(np.mean(losses)), loss, mean, each, took)
        if on_epoch is not None:
            on_epoch(Epoch(epoch, recipe.epochs, float(np.mean(losses)), loss, mean, took))
        left = took * (recipe.epochs - epoch) / 60
        say(
            f"epoch {epoch}: training loss {np.mean(losses):.4f}, validation loss {loss:.4f}, "
            f"mean AUROC {mean:.4f} (best {state['best_auroc']:.4f}), at most {left:.0f} min left"
        )
    return work


def _freeze(network: Any) -> None:
    """Let nothing but the last layer learn; a batch does not move the others' statistics either."""
    for layer in network.layers:
        layer.trainable = layer.name == "logits"


def _say(text: str) -> None:
    print(text, flush=True)


def _silent(_text: str) -> None:
    """Nobody reads what a run prints that somebody watches by other means."""


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
    add_corpus_argument(parser)
    parser.add_argument("--pictures", type=Path, help="folder of labelled pictures with labels.csv")
    parser.add_argument(
        "--start", type=Path, help="network to begin from: models/store/NAME-VERSION"
    )
    parser.add_argument("--work", type=Path, required=True, help="cache, checkpoints, log")
    parser.add_argument(
        "--input", choices=INPUT_KINDS, default="unpacked", help="how the packet enters the network"
    )
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=int, default=16, help="filters of the first stage")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=150, help="batches an epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at its highest")
    parser.add_argument(
        "--average", type=float, default=0.998, help="moving average of the weights"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--shuffled-labels", action="store_true", help="a control: must learn nothing"
    )
    given = parser.parse_args(arguments)
    if given.corpus is None and given.pictures is None:
        parser.error("nothing to train on: give --corpus (or ECG_CORPUS_DIR) or --pictures")
    return given


def recipe_of(given: argparse.Namespace) -> Recipe:
    """The recipe a command line asks for; a network to begin from decides the architecture."""
    architecture = Architecture(given.depth, given.width, given.input, extra=len(EXTRAS))
    start = ""
    if given.start is not None:
        card = Artifact.load(given.start).card
        architecture = replace(card.architecture, extra=len(EXTRAS))
        start = f"{card.name} {card.version}"
    return Recipe(
        architecture,
        seed=given.seed,
        epochs=given.epochs,
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.rate,
        average=given.average,
        start=start,
        shuffled_labels=given.shuffled_labels,
    )


def main() -> None:
    """Train from the command line."""
    given = parse()
    train(
        recipe_of(given),
        given.work,
        corpus=given.corpus,
        pictures=given.pictures,
        start=given.start,
    )


if __name__ == "__main__":
    main()
