"""What a network learns from and is judged by: a list of labelled ECGs that does not change.

A patient is in one split, and stays there for ever: a keyed hash of the Patient ID decides when
the patient is first frozen, and later sets keep what was decided. The ID counts alone, without its
issuer: objects of one patient come with the issuer and without it, and one patient on both sides of
a split makes a network look better than it is; two patients on one side cost nothing. An ECG
without an ID is a patient of its own and never in the test split, since its patient may be in
another.

The test split is locked. :func:`open_test_split` is the door to it, and writes down who opened it
and what for: a network that was looked at on the test split again and again is fitted to it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from gateway import spool
from gateway.models import Instance
from models.labels import KEYS
from webadmin import audit, labelling, words
from webadmin.models import Label, SplitOpening, TrainingItem, TrainingRun, TrainingSet

Split = TrainingItem.Split

TEST_PERCENT: Final = 20
VALIDATION_PERCENT: Final = 16
"""Of the patients; the same shares as in models.corpus.records."""

ENOUGH_TEST: Final = 10
ENOUGH_TRAINING: Final = 10
"""So many ECGs have to show a finding before a split says anything of it."""

NAME_LENGTH: Final = 100

_NEEDED: Final = (
    "findings",
    *(
        f"instance__{name}"
        for name in ("sop_instance_uid", "sha256", "spool_name", "conflict_of", "aged_out_at")
    ),
    "instance__study__patient_id",
)
"""What is looked at of each labelled ECG: there may be a hundred thousand."""

_BATCH: Final = 1000


class NotFrozen(ValueError):
    """Nothing can be frozen; the text says why."""


@dataclass(frozen=True)
class Plan:
    """What a set would hold if it were frozen now.

    Attributes
    ----------
    items
        Not saved, and of no set yet.
    sha256
        Of the pictures' hashes, their words and their splits.
    counts
        For each split the number of ``ecgs`` and of ``patients``, and for each finding how many
        ECGs show it.
    left_out
        How many labelled ECGs are not in it, by the reason why.
    """

    items: list[TrainingItem]
    sha256: str
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int]

    @property
    def missing(self) -> list[str]:
        """What there is too little of, in sentences."""
        return list(_missing(self.counts))


def plan() -> Plan:
    """Look at every labelled ECG: what would be frozen, and what is missing."""
    left_out: Counter[str] = Counter()
    decided = _Splits()
    items, lines = [], []
    for label, instance in _labelled():
        if reason := _unfit(label, instance):
            left_out[reason] += 1
            continue
        digest, split = decided.of(instance)
        if split == Split.TEST and label.source not in Label.SETTLED:
            # Who confirms what a network shows makes it right by its own word.
            left_out[_("it would judge networks, and one reader alone has said what it is")] += 1
            continue
        items.append(
            TrainingItem(
                instance=instance,
                label=label,
                findings=label.findings,
                patient_sha256=digest,
                split=split,
            )
        )
        said = json.dumps(label.findings, sort_keys=True)
        lines.append(f"{instance.sha256} {said} {split.value}\n")
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    return Plan(items, digest, _counts(items), dict(left_out))


@transaction.atomic
def freeze(name: str, user: User, *, note: str = "") -> TrainingSet:
    """Freeze what is labelled now under a name.

    Raises
    ------
    NotFrozen
        No labelled ECG is here, the name is taken, or a set holds exactly the same.
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_LENGTH:
        raise NotFrozen("expected a name of 1 to 100 characters")
    if TrainingSet.objects.filter(name=name).exists():
        raise NotFrozen("a training set of this name exists: sets are never changed, take another")
    # Two people who freeze at once freeze one after the other.
    ContentType.objects.select_for_update(no_key=True).get(
        app_label=TrainingSet._meta.app_label, model=TrainingSet._meta.model_name
    )
    found = plan()
    if not found.items:
        raise NotFrozen("expected labelled ECGs whose pictures are here; found none")
    same = TrainingSet.objects.filter(sha256=found.sha256).first()
    if same is not None:
        raise NotFrozen(f"the training set {same.name} holds exactly these ECGs and labels")
    frozen = TrainingSet.objects.create(
        name=name, sha256=found.sha256, counts=found.counts, note=note[:1000], frozen_by=user
    )
    for item in found.items:
        item.training_set = frozen
    TrainingItem.objects.bulk_create(found.items, batch_size=_BATCH)
    audit.record(
        audit.Action.FROZE, actor=user.get_username(), subject=frozen,
        sha256=frozen.sha256, ecgs=len(found.items),
    )  # fmt: skip
    return frozen


def open_items(training_set: TrainingSet) -> QuerySet[TrainingItem]:
    """Return what may be looked at freely: the training and the validation split."""
    return training_set.items.exclude(split=Split.TEST).select_related("instance")


@transaction.atomic
def open_test_split(
    training_set: TrainingSet, actor: str, purpose: str, run: TrainingRun | None = None
) -> QuerySet[TrainingItem]:
    """Open the locked split, and write down who did and what for.

    Raises
    ------
    ValueError
        Nobody, or for nothing.
    """
    if not actor.strip() or not purpose.strip():
        raise ValueError("expected who opens the test split, and what for")
    SplitOpening.objects.create(
        training_set=training_set, run=run, actor=actor[:64], purpose=purpose.strip()[:300]
    )
    audit.record(
        audit.Action.OPENED_SPLIT, actor=actor, subject=training_set, purpose=purpose.strip()[:300]
    )
    return training_set.items.filter(split=Split.TEST).select_related("instance")


def split_of(patient_id: str) -> Split:
    """Return the split of a patient with this ID who is frozen for the first time."""
    return _drawn(f"patient {patient_id.strip()}")


def frozen_instances() -> QuerySet[TrainingItem, int]:
    """Return the ids of the ECGs in frozen sets: their pictures do not age out."""
    return TrainingItem.objects.order_by().values_list("instance_id", flat=True)


def missing(training_set: TrainingSet) -> list[str]:
    """Return what a set has too little of, in sentences."""
    return list(_missing(training_set.counts))


def _labelled() -> Iterator[tuple[Label, Instance]]:
    """Yield the labels that hold with their ECGs, in the order of the ECGs."""
    rows = labelling.latest().select_related("instance__study").only(*_NEEDED)
    rows = rows.order_by("instance_id")
    for label in rows.iterator(chunk_size=_BATCH):
        yield label, label.instance


def _unfit(label: Label, instance: Instance) -> str:
    """Return why a labelled ECG is not learned from; empty where it is."""
    if not labelling.decided(label.findings):
        return _("nothing was decided about it")
    if labelling.faults(label.findings):
        return _("its label contradicts itself")
    if instance.conflict_of_id is not None:
        return _("another object of its UID came before it")
    if instance.aged_out_at is not None:
        return _("its picture was removed by the retention policy")
    try:
        spool.locate(instance.spool_name)
    except spool.SpoolError:
        return _("its picture is missing from the spool")
    return ""


def _patient(instance: Instance) -> str:
    """Return whose ECG it is; one without a Patient ID is of a patient of its own."""
    patient_id = instance.study.patient_id.strip() if instance.study else ""
    return f"patient {patient_id}" if patient_id else f"ecg {instance.sop_instance_uid}"


def _hash(patient: str) -> str:
    return salted_hmac("webadmin.trainingsets", patient, algorithm="sha256").hexdigest()


class _Splits:
    """Where each patient is: as it was decided at first, or by the hash."""

    def __init__(self) -> None:
        before = TrainingItem.objects.order_by().values_list(
            "instance__study__patient_id", "instance__sop_instance_uid", "split"
        )
        self._decided: dict[str, str] = {}
        self._found: dict[str, tuple[str, Split]] = {}
        for patient_id, uid, split in before.distinct().iterator(chunk_size=_BATCH):
            identity = (patient_id or "").strip()
            self._decided[f"patient {identity}" if identity else f"ecg {uid}"] = split

    def of(self, instance: Instance) -> tuple[str, Split]:
        """Return a patient's hash and side."""
        patient = _patient(instance)
        if patient not in self._found:
            split = self._decided.get(patient)
            self._found[patient] = (_hash(patient), Split(split) if split else _drawn(patient))
        return self._found[patient]


def _drawn(patient: str) -> Split:
    number = int(_hash(patient)[:8], 16) % 100
    if number < TEST_PERCENT:
        return Split.TRAINING if patient.startswith("ecg ") else Split.TEST
    return Split.VALIDATION if number < TEST_PERCENT + VALIDATION_PERCENT else Split.TRAINING


def _counts(items: Sequence[TrainingItem]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in Split:
        own = [item for item in items if item.split == split]
        shown = Counter(key for item in own for key in labelling.present(item.findings))
        counts[split.value] = {
            "ecgs": len(own),
            "patients": len({item.patient_sha256 for item in own}),
            **{key: shown[key] for key in KEYS},
        }
    return counts


def _missing(counts: dict[str, Any]) -> Iterator[str]:
    for split, lacking in (
        (Split.TRAINING, _("No ECG in the training split: nothing is learned.")),
        (
            Split.VALIDATION,
            _("No ECG in the validation split: nobody sees when a training has learned enough."),
        ),
        (Split.TEST, _("No ECG in the test split: no network can be judged.")),
    ):
        if not counts[split].get("ecgs"):
            yield lacking
    for split, enough, said in (
        (
            Split.TEST,
            ENOUGH_TEST,
            _("Fewer than %(enough)d ECGs of the test split show: %(few)s."),
        ),
        (
            Split.TRAINING,
            ENOUGH_TRAINING,
            _("Fewer than %(enough)d ECGs of the training split show: %(few)s."),
        ),
    ):
        shown = {key: counts[split].get(key, 0) for key in KEYS}
        few = [f"{words.MEANINGS[key]} ({many})" for key, many in shown.items() if many < enough]
        if few and counts[split].get("ecgs"):
            yield said % {"enough": enough, "few": ", ".join(few)}
