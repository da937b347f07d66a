"""A network that goes on learning from a site's own pages, and what it must not forget."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import train
from models.architecture import Architecture
from models.artifact import Artifact, ArtifactError, default_artifact, judged
from models.corpus import draw_page, lessons
from models.corpus.lessons import EXTRAS, Lessons
from models.corpus.simulate import simulate
from models.evaluation.making import from_lessons
from models.evaluation.site_card import write_site_card
from models.labels import KEYS, PAGE_KINDS, index_of
from models.packet import pack, unpack
from models.page import find_page
from models.predict import Predictor

SMALL = Architecture(depth=10, width=4, extra=len(EXTRAS))


def page(key: str, seed: int) -> NDArray[np.uint8]:
    raster = draw_page(simulate(key, seed), 250.0, "3x4+1", "grey", seed)
    return unpack(pack(find_page(raster[::2, ::2]).grey))


@pytest.fixture(scope="module")
def pages() -> dict[str, list[NDArray[np.uint8]]]:
    return {key: [page(key, seed) for seed in (1, 2)] for key in ("normal", "af")}


def lessons_of(pages: dict[str, list[NDArray[np.uint8]]], *, width: int) -> Lessons:
    """Return pages with the targets of the ten, and nothing known of the logits after them."""
    shown = [(key, one) for key, some in pages.items() for one in some]
    targets = np.zeros((len(shown), width), np.float32)
    known = np.zeros_like(targets)
    known[:, : len(KEYS)] = 1.0
    for row, (key, _) in enumerate(shown):
        targets[row, index_of(key)] = 1.0
    names = tuple(key for key, _ in shown)
    return Lessons((np.stack([one for _, one in shown]),), targets, known, names)


def test_all_layers_go_on_and_pages_that_are_not_to_be_read_are_rehearsed(
    pages: dict[str, list[NDArray[np.uint8]]], tmp_path: Path
) -> None:
    fitted = lessons_of(pages, width=len(KEYS) + len(EXTRAS))
    check = lessons_of(pages, width=len(KEYS))
    rehearsed = lessons.kind_lessons(tmp_path / "work", each=1)
    kinds = slice(len(KEYS), len(KEYS) + len(PAGE_KINDS))
    assert rehearsed.known[:, kinds].all()
    assert rehearsed.targets[:, kinds].any(axis=0).all()

    recipe = train.Recipe(SMALL, epochs=1, steps=2, batch=2, warmup_epochs=0, start="before 1.0")
    steps: list[tuple[int, int]] = []
    epochs: list[train.Epoch] = []
    train.train(
        recipe,
        tmp_path / "work",
        lessons=(fitted + rehearsed, check),
        on_step=lambda done, total: steps.append((done, total)),
        on_epoch=epochs.append,
    )
    assert steps == [(1, 2), (2, 2)]
    assert [(one.number, one.epochs) for one in epochs] == [(1, 1)]

    start = Artifact.load(default_artifact())
    said = {
        "training_set": "spring",
        "training_set_sha256": "ab" * 32,
        "ecgs": {"training": len(fitted), "validation": len(check)},
    }
    made = from_lessons(
        tmp_path / "work",
        tmp_path / "made",
        (fitted, check),
        start=start,
        name="site",
        version="1.0+1",
        training=said,
    )
    card = made.card
    assert (card.name, card.version, card.training["ecgs"]["training"]) == ("site", "1.0+1", 4)
    assert not any(card.validated.values()), "nobody has judged it yet"
    assert set(card.page_kind_thresholds) == set(start.card.page_kind_thresholds)
    for kind, before in start.card.page_kind_thresholds.items():
        assert card.page_kind_thresholds[kind] >= before
    familiarity = made.familiarity()
    assert familiarity is not None
    assert len(familiarity.mean) != len(start.familiarity().mean)  # type: ignore[union-attr]
    assert Predictor(made.folder).version == "1.0+1"

    # How it was judged is told afterwards; the network stays as it was.
    page = write_site_card(card)
    assert "all of its layers went on learning" in page
    assert "Not judged yet." in page
    again = judged(made, card, page=page)
    assert (again.folder / "MODEL_CARD.md").read_text() == page
    other = json.loads((made.folder / "card.json").read_text()) | {"version": "2.0"}
    with pytest.raises(ArtifactError, match="expected the card of the same network"):
        judged(made, type(card).of(other), page=page)


def test_a_training_with_nothing_to_choose_the_epoch_by_is_refused(
    pages: dict[str, list[NDArray[np.uint8]]], tmp_path: Path
) -> None:
    some = lessons_of(pages, width=len(KEYS) + len(EXTRAS))
    none = Lessons((some.sources[0][:0],), some.targets[:0], some.known[:0], ())
    with pytest.raises(train.TrainingError, match="expected pages to train on"):
        train.train(train.Recipe(SMALL), tmp_path, lessons=(some, none))
