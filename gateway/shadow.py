"""Networks in shadow read along on live ECGs: what they find is kept, compared, and never sent.

An Analyst reads along when nothing waits for it, one ECG at a time, and leaves off as soon as one
comes: no report is later than a picture's time for it. It does so for a share of its time only, so
that a spare Analyst is not a busy one. What is not read along today is read along later, oldest
first; an ECG whose bytes have aged out meanwhile is left out.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from gateway import network, pages, serving
from gateway.analysis import findings
from gateway.leases import TEXT_LENGTH, claimable
from gateway.models import Finding, Instance, ModelVersion, ShadowReading
from gateway.reading import read_objects
from gateway.retention import picture_file
from gateway.states import State
from gateway.watchdog import watched

log = structlog.get_logger(__name__)

SHARE: Final = 0.5
"""Of the time between two sweeps, 0..1, that an Analyst with nothing else to do reads along."""

CHOSEN_AT_ONCE: Final = 16


def read_along() -> int:
    """Read along on what was not yet; return how many ECGs were."""
    until = time.monotonic() + SHARE * max(1.0, settings.ECG_SWEEP_S)
    read = 0
    for instance, loaded in _in_turn(_loaded()):
        if time.monotonic() >= until or _is_needed():
            break
        read += _read(instance, loaded)
    return read


def _is_needed() -> bool:
    """Return whether an ECG waits for an Analyst."""
    return claimable(State.RECEIVED, timezone.now()).exists()


def _loaded() -> list[network.Network]:
    """Return the networks that have something to read, as far as there is time to load them."""
    found = []
    for version in in_shadow():
        if _is_needed():
            return []
        if not unread(version).exists():
            continue
        try:
            found.append(_load(version.pk, version.shadow_since))
        except Exception as error:  # noqa: BLE001 (one that cannot be loaded holds up no other)
            log.error("network in shadow not loaded", version=str(version), error=repr(error))
    return found


def _in_turn(networks: Sequence[network.Network]) -> Iterator[tuple[Instance, network.Network]]:
    """Yield ECGs for each network in turn, so that none waits until another has read them all."""
    lists = [unread(one.version)[:CHOSEN_AT_ONCE] for one in networks]
    for rank in itertools.zip_longest(*lists):
        for instance, loaded in zip(rank, networks, strict=True):
            if instance is not None:
                yield instance, loaded


def in_shadow() -> QuerySet[ModelVersion]:
    """Return the networks that read along, those since longest first."""
    return ModelVersion.objects.filter(shadow_since__isnull=False).order_by("shadow_since", "pk")


def start(version: ModelVersion) -> None:
    """Have a network read along from now on.

    Raises
    ------
    models.artifact.ArtifactError
        Its artifact is not kept here, or is not what it was.
    """
    serving.verified(version)
    version.shadow_since = version.shadow_since or timezone.now()
    version.save(update_fields=["shadow_since"])


def stop(version: ModelVersion) -> None:
    """Have a network read along no longer; what it has read stays."""
    version.shadow_since = None
    version.save(update_fields=["shadow_since"])


def unread(version: ModelVersion) -> QuerySet[Instance]:
    """Return the ECGs that a network in shadow is to read: received since, oldest first."""
    own = ShadowReading.objects.filter(model_version=version, instance=OuterRef("pk"))
    return (
        Instance.objects.filter(
            ~Exists(own),
            received_at__gte=version.shadow_since,
            model_version__isnull=False,
            aged_out_at__isnull=True,
        )
        .exclude(model_version=version)
        .exclude(state__in=(State.RECEIVED, State.REJECTED))
        .order_by("received_at", "pk")
    )


@functools.lru_cache(maxsize=4)
def _load(version: int, _since: object) -> network.Network:
    return network.load(ModelVersion.objects.get(pk=version))


def _read(instance: Instance, loaded: network.Network) -> int:
    """Read one ECG, unless somebody else does or did."""
    version = loaded.version
    try:
        with transaction.atomic():
            row = ShadowReading.objects.create(instance=instance, model_version=version)
    except IntegrityError:
        return 0
    reason, reading = "", None
    try:
        with watched(settings.ECG_PICTURE_LIMIT_S):
            found = list(pages.pages(picture_file(instance)))
            reading = read_objects([found], loaded.predictor.classify)[0]
        reason = reading.reason or ""
    except Exception as error:  # noqa: BLE001 (whatever a decoder or a network does)
        log.warning("not read along", instance=instance.pk, error=repr(error))
        reason = f"{type(error).__name__}: {error}"
    with transaction.atomic():
        row.read_at, row.reason = timezone.now(), reason[:TEXT_LENGTH]
        row.save(update_fields=["read_at", "reason"])
        if reading is not None:
            rows = findings(instance, reading, version)
            Finding.objects.bulk_create(rows, ignore_conflicts=True)
    return 1
