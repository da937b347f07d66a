"""The model card for people: what the network is, what it was judged on, what it must not be
trusted with (Mitchell et al. 2019, *Model Cards for Model Reporting*)."""

from typing import Any

from models.labels import LABELS

SOURCES = """\
- PTB-XL 1.0.x: Wagner et al. 2020, *Scientific Data* 7:154, licence CC BY 4.0. Part of its records
  were available only band-passed and normalised; their amplitudes are estimates. Those train and
  never judge.
- PhysioNet/Computing in Cardiology Challenge 2020 and 2021 samples (CPSC2018, CPSC-Extra, Georgia
  G12EC, Chapman-Shaoxing/Ningbo, PTB Diagnostic): Perez Alday et al. 2020, Reyna et al. 2021, open
  PhysioNet licences.
- Simulated ECGs of the rare findings, for training only. No figure here stands on one.
"""


def write_card(card: Any) -> str:
    """Return the Markdown page of a `models.artifact.ModelCard`."""
    test, training = card.metrics["test"], card.training
    names = {label.key: label.meaning for label in LABELS}
    rows = "\n".join(_row(names[key], test[key], card, key) for key in names)
    missing = ", ".join(names[key] for key in names if not card.validated[key]) or "none"
    layouts = "\n".join(
        f"| {layout} | {'yes' if one['seen_in_training'] else 'no'} | {one['macro_auroc']:.3f} |"
        for layout, one in card.metrics["layouts"].items()
    )
    controls = card.metrics["controls"]
    ecgs = training["ecgs"]
    how = card.architecture
    return f"""# {card.name} {card.version}

Reads a picture of a 12-lead, ten-second ECG and gives ten findings a probability each. Decision
support: a person confirms every result.

**Not validated: {missing}.** Too few real ECGs with these findings stood in the test set to claim
anything; their results are marked so in every report.

## What it is

A pre-activation residual network of depth {how.depth} and width {how.width}; input
"{how.input_kind}". The page is cut along time into three parts, the R, G and B of one
224 x 224 packet. Ten sigmoid outputs, each calibrated by a line on the logit.

## What it learned from

{ecgs["train"]} real ECGs of training patients, each drawn as paper in several layouts, grids and
inks, moved, scaled, turned and lit differently each time. {ecgs["validation"]} ECGs of other
patients chose the epoch, the calibration and the thresholds.

{SOURCES}
## How well it reads

{ecgs["test"]} ECGs of patients it has never seen, by a hash of the patient, drawn in the layouts
in turn. Thresholds were frozen before. In brackets: 95 % bootstrap interval.

| finding | positives | AUROC | AUPRC | F1 | sens. | spec. | sens. at 95 % spec. | validated |
|---|---|---|---|---|---|---|---|---|
{rows}

Mean AUROC over the findings with three or more positives: {card.metrics["macro_auroc"]:.3f}.

| layout | trained on | mean AUROC |
|---|---|---|
{layouts}

Of these pages {100 * card.metrics["refused"]:.1f} % were refused as unreadable.

Clean pages with the invented header printed: {card.metrics["header_printed"]:.3f}; with the header
left away: {card.metrics["header_left_away"]:.3f}. The header of the drawn pages carries no finding.
The same pages on blue paper, a style never trained on: {card.metrics["unseen_style"]:.3f}.

Controls that must be near 0.5: labels shuffled {controls["labels_shuffled"]:.3f}, trace erased
{controls["trace_erased"]:.3f}.

## What it must not be trusted with

- ECGs of hospitals and printers unlike these; real photographs were not part of the judging.
- A picture with none of the ten findings is not thereby normal.
- Records longer than ten seconds were cut to ten: a labelled event may lie outside.
- A label is what a source's statement says; statements of PTB-XL were not all confirmed.
"""


def _row(name: str, figures: dict[str, Any], card: Any, key: str) -> str:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    low, high = figures["auroc_interval"]
    area = cell(figures["auroc"])
    if low is not None:
        area += f" ({low:.2f}-{high:.2f})"
    cells = [name, str(figures["positives"]), area]
    names = ("auprc", "f1", "sensitivity", "specificity", "sensitivity_at_95")
    cells += [cell(figures[one]) for one in names]
    cells.append("yes" if card.validated[key] else "**no**")
    return "| " + " | ".join(cells) + " |"
