"""What was removed because its time had passed: one line each, appended, never changed."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.outputs import UID_LENGTH


class Disposal(models.Model):
    """Something that was removed by the retention policy: what, when, by whom, by which rule.

    No patient data: whoever has to answer for it knows the UID, or its study's.
    """

    class Kind(models.TextChoices):
        PICTURE = "picture", _("Bytes of an ECG")
        REPORT = "report", _("Bytes of a report")
        INSTANCE = "instance", _("ECG with everything about it")
        RECORD = "record", _("Records of the machine")

    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind)
    uid = models.CharField("SOP Instance UID", max_length=UID_LENGTH, blank=True, db_index=True)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    policy = models.CharField(max_length=100)
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.uid}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("a Disposal is appended once and never changed")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("a Disposal is never deleted")
