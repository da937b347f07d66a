"""Who is told of a finding within seconds: raised with the findings, sent by workers of their own.

An Alert is one row for a rule and an instance, however often the instance is worked on. It is sent
by a Herald, on a queue of its own: no report and no archive that is away holds it up, and no
receiver that hangs holds up a report. A claim moves ``not_before`` ahead; a process that dies while
it sends leaves a row that comes due again, so a message may arrive twice, each time with the same
key.
"""

from __future__ import annotations

import datetime
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from dicom_node.charset import decode_dataset
from dicom_node.errors import DicomError
from dicom_node.image import read_header
from gateway import doorbell, mail, spool, webhook
from gateway.leases import MAX_BACKOFF_S, TEXT_LENGTH
from gateway.models import Alert, AlertRule, Door, Installation, Instance
from gateway.routing import Seen, check_finding, findings_of
from models.labels import LABELS

log = structlog.get_logger(__name__)

NOTICE: Final = "AI result, unverified"
CLAIM_S: Final = 60.0
"""How long a row belongs to who took it: longer than any way of sending takes."""

GO_S: Final = 120.0
"""How long one task goes on."""

_MEANINGS: Final = {label.key: label.meaning for label in LABELS}


def raise_for_all(instances: Sequence[Instance]) -> None:
    """Make the Alerts of a batch, as :func:`raise_for` those of one."""
    # Where nobody has a rule that is all it costs, and the batch's transaction is the shorter.
    if instances and AlertRule.objects.filter(is_active=True).exists():
        for instance in instances:
            raise_for(instance)


def raise_for(instance: Instance) -> int:
    """Make an Alert for every active rule that fits an instance; return how many are new.

    Called inside the transaction that writes its findings, after them: an alert is there when
    they are. The bell is rung when they are committed. An ECG of the past that a backfill brings
    alarms nobody.
    """
    if instance.door == Door.BACKFILL:
        return 0
    rules = list(
        AlertRule.objects.filter(Q(sender="") | Q(sender=instance.calling_title), is_active=True)
    )
    seen = findings_of(instance) if rules else {}
    told = (
        set(Alert.objects.filter(instance=instance).values_list("rule", flat=True))
        if rules
        else set()
    )
    fitting = [rule for rule in rules if _fits(rule, seen) and rule.pk not in told]
    accession = _accession_number(instance) if any(r.names_patient for r in fitting) else ""
    Alert.objects.bulk_create(
        (as_raised(rule, instance, seen, accession) for rule in fitting), ignore_conflicts=True
    )
    if fitting:
        log.info("alerts raised", instance=instance.pk, rules=[rule.pk for rule in fitting])
        transaction.on_commit(lambda: doorbell.ring_alert(instance.pk), robust=True)
    return len(fitting)


def as_raised(
    rule: AlertRule, instance: Instance, seen: Mapping[str, Seen], accession_number: str = ""
) -> Alert:
    """Return an unsaved alert with what was found, which no later change of the rule changes."""
    found = seen.get(rule.finding)
    return Alert(
        rule=rule,
        instance=instance,
        finding=rule.finding,
        probability=found.probability if found else None,
        is_present=found.is_present if found else None,
        accession_number=accession_number if rule.names_patient else "",
    )


def _accession_number(instance: Instance) -> str:
    """Return that of the ECG itself: a study of several orders keeps the first one's."""
    try:
        header = decode_dataset(read_header(spool.locate(instance.spool_name)))
    except (OSError, DicomError) as error:
        log.warning("alert without accession number", instance=instance.pk, error=repr(error))
        return ""
    # As `gateway.sources` cleans what a Study row keeps.
    value = str(header.get("AccessionNumber") or "")
    return value.replace("\x00", "").strip()[:64]


def withdraw_switched_off() -> int:
    """End what waits by rules that were switched off; return how many ended."""
    return Alert.objects.filter(outcome=Alert.Outcome.WAITING, rule__is_active=False).update(
        outcome=Alert.Outcome.WITHDRAWN,
        ended_at=timezone.now(),
        last_error="its rule was switched off",
    )


def send_waiting() -> int:
    """Send what waits, the least tried first; return how many were tried.

    A receiver that failed is not asked again in the same go: each that is away costs one wait,
    and those that are there do not wait for it longer. What is left after :data:`GO_S` is for the
    next ring: a task that never ended would be killed while it sends.
    """
    withdraw_switched_off()
    tried, away, until = 0, set[str](), time.monotonic() + GO_S
    while time.monotonic() < until and (alert := _claim(away)) is not None:
        tried += 1
        if not _send(alert):
            away.add(alert.rule.target)
    return tried


def overdue(*, limit: int) -> list[int]:
    """Return ids of alerts that wait and whose time has come."""
    return list(_due().order_by("raised_at").values_list("pk", flat=True)[:limit])


def retry(alert: Alert) -> bool:
    """Have an alert that failed tried again; False when it is not failed (any more)."""
    changed = Alert.objects.filter(pk=alert.pk, outcome=Alert.Outcome.FAILED).update(
        outcome=Alert.Outcome.WAITING,
        attempts=0,
        not_before=timezone.now(),
        ended_at=None,
        last_error="",
    )
    if changed:
        doorbell.ring_alert(alert.pk)
    return bool(changed)


def describe(rule: AlertRule) -> str:
    """Return in words what a rule tells of."""
    condition = check_finding(rule.finding, rule.min_probability, {}).condition
    if not rule.sender:
        return condition
    return _("%(condition)s, from %(sender)s") % {"condition": condition, "sender": rule.sender}


def describe_raised(alert: Alert) -> str:
    """Return in words what an alert tells of: what was found when it was raised."""
    name = _(_MEANINGS.get(alert.finding, alert.finding))
    if alert.probability is None:
        return name
    verdict = _("present") if alert.is_present else _("not present")
    return f"{name} {alert.probability:.1%}, {verdict}"


def message(alert: Alert) -> dict[str, Any]:
    """Return what is told: no patient data unless the rule says so, identifiers of ours alone."""
    rule, instance = alert.rule, alert.instance
    told: dict[str, Any] = {
        "id": f"{Installation.load().serial}-{alert.pk}",
        "rule": rule.name,
        "finding": alert.finding,
        "name": _MEANINGS.get(alert.finding, alert.finding),
        "probability": None if alert.probability is None else round(alert.probability, 4),
        "present": alert.is_present,
        "notice": NOTICE,
        "sender": instance.calling_title,
        "received_at": instance.received_at.isoformat(),
        "raised_at": alert.raised_at.isoformat(),
        "link": f"{_desk_url()}/desk/gateway/instance/{instance.pk}/change/",
    }
    if rule.names_patient and instance.study is not None:
        told["patient_id"] = instance.study.patient_id
        told["accession_number"] = alert.accession_number
    return told


def _fits(rule: AlertRule, seen: dict[str, Seen]) -> bool:
    return check_finding(rule.finding, rule.min_probability, seen).is_met


def _due() -> QuerySet[Alert]:
    return Alert.objects.filter(
        outcome=Alert.Outcome.WAITING, not_before__lte=timezone.now(), rule__is_active=True
    )


def _claim(away: set[str]) -> Alert | None:
    """Take the next alert and count the attempt; None when nothing waits."""
    while True:
        waiting = _due().exclude(rule__target__in=away).order_by("attempts", "raised_at", "pk")
        alert = waiting.select_related("rule", "instance__study").first()
        if alert is None:
            return None
        until = timezone.now() + datetime.timedelta(seconds=CLAIM_S)
        if _held(alert).update(attempts=F("attempts") + 1, not_before=until):
            alert.attempts += 1
            return alert


def _held(alert: Alert) -> QuerySet[Alert]:
    """Return the row as long as nobody else has tried it meanwhile."""
    return Alert.objects.filter(pk=alert.pk, outcome=Alert.Outcome.WAITING, attempts=alert.attempts)


def _send(alert: Alert) -> bool:
    """Tell whom the rule names, and write what came of it; return whether it is through."""
    try:
        _tell(alert)
    except Exception as error:  # noqa: BLE001 (whatever a mail server or a network brings)
        if isinstance(error, mail.NotSent) and error.reached:
            alert.reached = [*alert.reached, *error.reached]
            Alert.objects.filter(pk=alert.pk).update(reached=alert.reached)
        _write_failure(alert, _reason(error))
        return False
    # Whoever believes to hold the row by now: what was sent is sent, and not sent again.
    Alert.objects.filter(pk=alert.pk).exclude(outcome=Alert.Outcome.SENT).update(
        outcome=Alert.Outcome.SENT, ended_at=timezone.now(), last_error=""
    )
    log.info("alert sent", alert=alert.pk, rule=alert.rule_id, instance=alert.instance_id)
    return True


def _tell(alert: Alert) -> None:
    told = message(alert)
    if alert.rule.channel == AlertRule.Channel.WEBHOOK:
        secret = settings.ECG_WEBHOOK_SECRET
        body = json.dumps(told).encode()
        webhook.post(alert.rule.target, body, key=str(told["id"]), secret=secret)
        return
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in told.items()]
    probability = "" if told["probability"] is None else f" {told['probability']:.1%}"
    addresses = alert.rule.addresses
    email = EmailMessage(
        subject=f"ECG alert: {told['name']}{probability}",
        body="\n".join(lines) + "\n",
        to=addresses,
        headers={"Message-ID": f"<{told['id']}@ecg-gateway>", "Auto-Submitted": "auto-generated"},
    )
    mail.send(email, [address for address in addresses if address not in alert.reached])


def _reason(error: Exception) -> str:
    """Say what went wrong without repeating what was sent, or where to."""
    if isinstance(error, webhook.NotTaken | mail.NotSent):
        return str(error)
    said = getattr(error, "strerror", None) or ""
    return f"{type(error).__name__}{f': {said}' if said else ''}"


def _write_failure(alert: Alert, reason: str) -> None:
    is_spent = alert.attempts >= settings.ECG_ATTEMPTS
    wait_s = min(MAX_BACKOFF_S, settings.ECG_BACKOFF_S * 2.0 ** (alert.attempts - 1))
    wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
    now = timezone.now()
    _held(alert).update(
        last_error=reason[:TEXT_LENGTH],
        not_before=now + datetime.timedelta(seconds=wait_s),
        outcome=Alert.Outcome.FAILED if is_spent else Alert.Outcome.WAITING,
        ended_at=now if is_spent else None,
    )
    log.warning("alert not sent", alert=alert.pk, attempts=alert.attempts, error=reason)


def _desk_url() -> str:
    """Return where people reach the Desk."""
    return str(settings.ECG_DESK_URL).rstrip("/")
