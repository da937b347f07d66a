"""Which network serves, since when, and who said so."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gateway.models.instances import ModelVersion


class Promotion(models.Model):
    """A network began to serve: the latest row says which one does. Appended, never changed.

    Without a row it is the network of ``ECG_MODEL_DIR``, or the one that ships.
    """

    class Kind(models.TextChoices):
        PROMOTED = "promoted", _("Promoted")
        ROLLED_BACK = "rolled_back", _("Rolled back")

    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="promotions"
    )
    previous = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    kind = models.CharField(max_length=16, choices=Kind)
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=64)
    reason = models.CharField(max_length=1000)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.model_version} {self.get_kind_display().lower()}"
