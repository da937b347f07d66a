"""From reading to a better network in five steps: which of them were done here, and where each is.

The front page shows them to whoever may take one, until all were taken once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils.translation import gettext as _

from gateway.models import Promotion
from webadmin.models import Reading, TrainingRun, TrainingSet

HANDFUL: Final = 5
"""ECGs that people have read."""


@dataclass(frozen=True)
class Step:
    """One step: what to do, why, and where; no link for who may not."""

    title: str
    why: str
    is_done: bool
    link: str


def open_to(user: User | AnonymousUser) -> list[Step]:
    """Return the steps for this person; none where they may take none, or all were taken."""
    candidate = TrainingRun.objects.filter(candidate__isnull=False).order_by("-pk").first()
    read = Reading.objects.order_by().values_list("instance", flat=True).distinct()[:HANDFUL]
    count, is_frozen = len(read), TrainingSet.objects.exists()
    trained = (
        reverse("admin:gateway_modelversion_change", args=[candidate.candidate_id])
        if candidate
        else reverse("admin:webadmin_trainingrun_changelist")
    )
    steps = [
        (
            "webadmin.add_reading",
            _("Read one"),
            _("Say whether the network is right; verify, and a report in your name goes out."),
            count > 0,
            reverse("reading_list"),
        ),
        (
            "webadmin.add_reading",
            _("Label a handful"),
            _("Each ECG you confirm or override becomes a label: what counts as true of it."),
            count >= HANDFUL or is_frozen,  # labels may have been imported
            reverse("reading_list"),
        ),
        (
            "webadmin.freeze_trainingset",
            _("Freeze a training set"),
            _("The labels of now, split by patient; the test part is locked away."),
            is_frozen,
            reverse("admin:webadmin_trainingset_freeze"),
        ),
        (
            "webadmin.add_trainingrun",
            _("Train on it"),
            _("The network goes on learning; a few minutes for a small set. Nothing serves yet."),
            candidate is not None,
            reverse("admin:webadmin_trainingrun_start"),
        ),
        (
            "webadmin.promote_modelversion",
            _("Compare and promote"),
            _("Only a better network can be promoted, and one press takes it back."),
            Promotion.objects.exists(),
            trained,
        ),
    ]
    may = [user.has_perm(permission) for permission, *_rest in steps]
    if not any(may) or all(is_done for _p, _t, _w, is_done, _l in steps):
        return []
    return [
        Step(title, why, is_done, link if allowed else "")
        for allowed, (_permission, title, why, is_done, link) in zip(may, steps, strict=True)
    ]
