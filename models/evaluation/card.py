"""The model card for people: what the network is, what it was judged on, what it must not be
trusted with (Mitchell et al. 2019, *Model Cards for Model Reporting*)."""

from typing import Any, Final

from models.evaluation.card_tables import tables
from models.evaluation.judgement import MARK_POSITIVES
from models.labels import KEYS, LABELS

SOURCES: Final = """\
- PTB-XL 1.0.x: Wagner et al. 2020, *Scientific Data* 7:154, licence CC BY 4.0. Part of its records
  were available only band-passed and normalised; their amplitudes are estimates. Those train and
  never judge.
- PhysioNet/Computing in Cardiology Challenge 2020 and 2021 samples (CPSC2018, CPSC-Extra, Georgia
  G12EC, Chapman-Shaoxing/Ningbo, PTB Diagnostic): Perez Alday et al. 2020, Reyna et al. 2021, open
  PhysioNet licences.
- Real ECGs of training patients edited into rare rhythms, and simulated ones, for training only.
  No figure here stands on one.
"""

_NAMES: Final = {label.key: label.meaning for label in LABELS}


def write_card(card: Any) -> str:
    """Return the Markdown page of a `models.artifact.ModelCard`."""
    how, ecgs = card.architecture, card.training["ecgs"]
    missing = ", ".join(_NAMES[key] for key in KEYS if not card.validated[key]) or "none"
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
inks, scanned, photographed, moved, scaled, turned and lit differently each time.
{ecgs["validation"]} ECGs of other patients chose the epoch, the calibration and the thresholds.

{SOURCES}
## How well it reads

{ecgs["test"]} ECGs of patients it has never seen, told apart by a hash of the patient, judged
on {card.training["judged_on"]}. In brackets: 95 % interval from resampling the patients. A mean is
over the findings with {MARK_POSITIVES} positives or more.

{tables(card)}

![ROC curves](pictures/roc.png)
![Reliability](pictures/reliability.png)
![What was called present on ECGs of each finding](pictures/said.png)

## What it must not be trusted with

- ECGs of hospitals, recorders and printers unlike these. Scans, photographs and screens were
  made by a program from drawn pages; real ones with labels were not there to judge on.
- The findings named above as not validated, whatever the page says of them.
- A picture with none of the ten findings is not thereby normal.
- Records longer than ten seconds were cut to ten: a labelled event may lie outside.
- {card.training["test_ecgs_of_unknown_patients"]} of the test ECGs name no patient; another ECG of
  the same heart may have trained, as far as anyone knows.
- A label is what a source's statement says; statements of PTB-XL were not all confirmed.
- Children, pacemakers, and anything the sources hold too few of to be looked at by itself.
"""
