"""Waveforms to drawn pages: layouts, styles, simulated rhythms, the records and their split.

`draw_page` prints a twelve-lead signal on ECG paper, `simulate` makes one of each finding.
The real records live outside the project, in the folder ``ECG_CORPUS_DIR`` names.
"""

from models.corpus.draw import draw_page
from models.corpus.layouts import LAYOUTS, TRAINING_LAYOUTS, UNSEEN_LAYOUTS, Layout
from models.corpus.simulate import simulate, simulate_annotated
from models.corpus.styles import STYLES, UNSEEN_STYLE, Style, random_style

__all__ = [
    "LAYOUTS",
    "STYLES",
    "TRAINING_LAYOUTS",
    "UNSEEN_LAYOUTS",
    "UNSEEN_STYLE",
    "Layout",
    "Style",
    "draw_page",
    "random_style",
    "simulate",
    "simulate_annotated",
]
