"""The model card for people of a network that went on learning on a site's own ECGs."""

from typing import Any

from models.evaluation.tables import between, table, three
from models.labels import KEYS, LABELS


def write_site_card(card: Any) -> str:
    """Return the Markdown page of a `models.artifact.ModelCard`."""
    training, test = card.training, card.metrics.get("test", {})
    split = training["ecgs"]
    rows = [
        [
            label.meaning,
            str(test[label.key]["positives"]),
            str(test[label.key]["negatives"]),
            between(test[label.key], "auroc"),
            between(test[label.key], "auprc"),
            three(test[label.key]["f1"]),
            "yes" if card.validated[label.key] else "no",
        ]
        for label in LABELS
        if label.key in test
    ]
    head = ["Finding", "With it", "Without", "AUROC", "AUPRC", "F1", "Validated"]
    figures = table(head, rows) if rows else "Not judged yet."
    missing = ", ".join(label.meaning for label in LABELS if not card.validated[label.key])
    learned = "its last layer" if training["recipe"]["frozen"] else "all of its layers"
    return f"""# {card.name} {card.version}

Reads a picture of a 12-lead, ten-second ECG and gives {len(KEYS)} findings a probability each.
Decision support: a person confirms every result.

**Not validated: {missing or "none"}.**

## What it learned from

It is {training["recipe"]["start"]}, of which {learned} went on learning on this site's own ECGs:
the training set "{training["training_set"]}" (SHA-256 {training["training_set_sha256"]}), with
{split["training"]} ECGs to learn from and {split["validation"]} of other patients that chose the
epoch, the calibration and the thresholds.

## How well it reads

On ECGs of further patients of the same set, which it has never seen. In brackets: 95 % interval
from resampling the patients.

{figures}
"""
