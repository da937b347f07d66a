"""The tables of a model card: every figure, as text and as Markdown alike."""

from typing import Any, Final

from models.evaluation.aims import aims
from models.evaluation.beside import SIGNAL
from models.evaluation.judgement import TOLD, WHOLE_LAYOUTS
from models.evaluation.tables import between, percent, table, three
from models.labels import KEYS, LABELS

_NAMES: Final = {label.key: label.meaning for label in LABELS}
_SHORT: Final = {
    "normal": "normal", "pvc": "PVC", "preexcitation": "pre-exc.", "clbbb": "CLBBB",
    "crbbb": "CRBBB", "af": "AF", "afl": "flutter", "atrial_escape": "escape", "pac": "PAC",
    "at": "AT", "none": "none",
}  # fmt: skip


def tables(card: Any) -> str:
    """All figures of a card, as tables that read well as text and as Markdown."""
    metrics = card.metrics
    parts = [
        ("What was aimed at", _aims(metrics)),
        ("Each finding", _findings(card)),
        ("Calibration", _calibration(metrics)),
        ("Thresholds, and what they bought on the validation ECGs", _thresholds(card)),
        ("The ceiling, and other ways to read the same ECGs", _baselines(metrics)),
        ("Layouts", _layouts(metrics)),
        ("What befalls pages", _effects(metrics)),
        ("Header and style", _header(metrics)),
        ("What was called present", _said(metrics)),
        ("Refused", _refused(metrics)),
        ("Controls", _controls(metrics)),
    ]
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts if text)


def _aims(metrics: dict[str, Any]) -> str:
    rows = [
        [aim.name, f"{aim.sign} {aim.wanted:g}", three(aim.found), aim.verdict, three(aim.ceiling)]
        for aim in aims(metrics)
    ]
    return table(["aim", "wanted", "found", "", "ceiling"], rows)


def _findings(card: Any) -> str:
    metrics = card.metrics
    ceiling = metrics.get("baselines", {}).get(SIGNAL, {}).get("auroc", {})
    rows = []
    for key in KEYS:
        own = metrics["test"][key]
        rows.append(
            [
                _NAMES[key],
                f"{own['positives']} / {own['negatives']}",
                between(own, "auroc"),
                three(own.get("auroc_over_layouts")),
                three(ceiling.get(key)),
                between(own, "auprc"),
                between(own, "f1"),
                between(own, "sensitivity"),
                between(own, "specificity"),
                between(own, "sensitivity_at_95"),
                "yes" if card.validated[key] else "**no**",
            ]
        )
    head = [
        "finding", "with / without", "AUROC", f"mean of {len(WHOLE_LAYOUTS)} drawings", "ceiling",
        "AUPRC", "F1", "sens.", "spec.", "sens. at 95 % spec.", "validated",
    ]  # fmt: skip
    low_high = metrics["macro_auroc_interval"]
    return (
        table(head, rows)
        + f"\n\nMean AUROC {three(metrics['macro_auroc'])} "
        + f"({three(low_high[0])}-{three(low_high[1])}); with the findings of three positives or "
        + f"more {three(metrics['macro_auroc_few'])}. Mean F1 {three(metrics['macro_f1'])}."
        + "\nOne page of each ECG, layouts in turn, what befalls a page by lot. *Ceiling* is the "
        + "AUROC of a network on the signal itself, trained on the same ECGs."
    )


def _calibration(metrics: dict[str, Any]) -> str:
    rows = [
        [_NAMES[key], three(one["error"]), three(one["error_by_chance"])]
        for key, one in metrics["calibration"].items()
    ]
    return (
        table(["finding", "calibration error", "if perfect"], rows)
        + "\n\nMean gap between what was said and what was seen, in ten bins of equally many ECGs. "
        + "*If perfect*: what so few ECGs would show by chance were every probability right."
    )


def _thresholds(card: Any) -> str:
    points = card.metrics.get("validation", {})
    rows = []
    for key in KEYS:
        point = points.get(key, {})
        band = f"{card.calibration.undetermined_from[key]:.3f}"
        rows.append(
            [
                _NAMES[key],
                f"{point.get('positives', '-')}",
                f"{card.calibration.threshold[key]:.3f}",
                *[percent(point.get(name)) for name in ("sensitivity", "specificity")],
                *[
                    percent(point.get(f"{way}_predictive_value"))
                    for way in ("positive", "negative")
                ],
                band,
                percent(point.get("sensitivity_with_band")),
                percent(point.get("undetermined")),
            ]
        )
    head = [
        "finding", "with it", "present from", "sens.", "spec.", "right of the present",
        "right of the absent", "undetermined from", "sens. with those", "undetermined of all",
    ]  # fmt: skip
    return table(head, rows)


def _baselines(metrics: dict[str, Any]) -> str:
    beside = metrics.get("baselines")
    if not beside:
        return ""
    keys = [key for key in KEYS if any(key in one["auroc"] for one in beside.values())]
    own = metrics["test"]
    rows = [
        [
            "**this network**",
            between(metrics, "macro_auroc"),
            "",
            *[three(own[key]["auroc"]) for key in keys],
        ]
    ]
    for name, one in beside.items():
        rows.append(
            [
                name,
                between(one, "macro_auroc"),
                between(one, "less"),
                *[three(one["auroc"].get(key)) for key in keys],
            ]
        )
    head = ["reader", "mean AUROC", "this network is better by", *[_SHORT[key] for key in keys]]
    return table(head, rows)


def _layouts(metrics: dict[str, Any]) -> str:
    layouts = metrics["layouts"]
    keys = list(next(iter(layouts.values()))["auroc"])
    rows = [
        [
            name,
            "yes" if one["seen_in_training"] else "**no**",
            three(one["macro_auroc"]),
            three(one["macro_f1"]),
            percent(one["refused"]),
            *[three(one["auroc"][key]) for key in keys],
        ]
        for name, one in layouts.items()
    ]
    gap = metrics["layout_gap"]
    head = ["layout", "trained on", "mean AUROC", "mean F1", "refused"]
    return (
        table([*head, *[_SHORT[key] for key in keys]], rows)
        + f"\n\nOf the layouts that show all ten seconds: trained on {three(gap['seen'])}, never "
        + f"trained on {three(gap['unseen'])}; a gap of {between(gap, 'gap')}. Simultaneous "
        + "columns leave out what came later: what is not printed cannot be read."
    )


def _effects(metrics: dict[str, Any]) -> str:
    rows = [
        [
            name.replace("_", " "),
            three(one["macro_auroc"]),
            three(one["macro_f1"]),
            percent(one["kept"]),
            percent(one["refused"]),
            three(one["macro_f1_with_refused"]),
            percent(one["kept_with_refused"]),
        ]
        for name, one in metrics["effects"].items()
    ]
    head = [
        "page", "mean AUROC", "mean F1", "of clean", "refused", "mean F1, refused as absent",
        "of clean",
    ]  # fmt: skip
    return table(head, rows)


def _header(metrics: dict[str, Any]) -> str:
    header = metrics["header"]
    rows = [["printed", *_header_cells(header["printed"]), "", "", ""]]
    for name, what in TOLD.items():
        one = header[name]
        rows.append(
            [
                what,
                *_header_cells(one),
                f"{one['mean_change']:.4f}",
                f"{one['af_moved']:+.4f}",
                percent(one["verdicts_changed"]),
            ]
        )
    rows.append(["a colour of paper never trained on", *_header_cells(metrics["unseen_style"])])
    head = [
        "header", "mean AUROC", "mean F1", "refused", "mean change of a probability",
        "mean change of AF", "verdicts changed",
    ]  # fmt: skip
    return table(head, [row + [""] * (len(head) - len(row)) for row in rows])


def _header_cells(one: dict[str, Any]) -> list[str]:
    return [three(one["macro_auroc"]), three(one["macro_f1"]), percent(one["refused"])]


def _said(metrics: dict[str, Any]) -> str:
    columns = [*KEYS, "none"]
    rows = []
    for name, row in metrics["said"].items():
        if row["ecgs"]:
            title = _NAMES.get(name, "none of the ten")
            rows.append([title, str(row["ecgs"]), *[str(row[one] or "·") for one in columns]])
    return (
        table(["ECGs with", "number", *[_SHORT[one] for one in columns]], rows)
        + "\n\nAn ECG may have, and be called, several. *None*: nothing was called present."
    )


def _refused(metrics: dict[str, Any]) -> str:
    lines = [f"{percent(metrics['refused'])} of the pages got no answer."]
    lines += [f"- {count} of them: {reason}" for reason, count in metrics["refused_why"].items()]
    kinds = metrics["page_kinds_refused"]
    lines.append(
        f"\nPages that are not to be read and were refused: six leads only "
        f"{percent(kinds['six_leads'])}, paper at 50 mm/s {percent(kinds['fast_paper'])}."
    )
    return "\n".join(lines)


def _controls(metrics: dict[str, Any]) -> str:
    controls = metrics["controls"]
    names = {
        "labels_shuffled": "the test ECGs' labels shuffled",
        "trace_erased": "pages without a trace",
        "trained_on_shuffled_labels": "a short training on shuffled labels",
        "trained_on_right_labels": "the same training on the right ones (must be higher)",
    }
    rows = [[what, three(controls[name])] for name, what in names.items() if name in controls]
    refused = percent(controls["trace_erased_refused"])
    return (
        table(["control, must be near 0.5", "mean AUROC"], rows)
        + f"\n\nPages without a trace are refused ({refused}); their figure is what the network "
        + "would say if they were not."
    )
