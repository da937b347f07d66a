"""ECGs of the past, brought from an archive."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from gateway.models.peers import Peer


class Backfill(models.Model):
    """One search of an archive for ECGs of the past, day by day: what is done is not done again."""

    peer = models.ForeignKey(Peer, on_delete=models.PROTECT, related_name="backfills")
    from_date = models.DateField()
    to_date = models.DateField()
    done_through = models.DateField(
        null=True, blank=True, help_text="All days up to this one are finished."
    )
    studies_count = models.PositiveIntegerField(default=0)
    instances_count = models.PositiveIntegerField(default=0)
    failures_count = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("peer", "from_date", "to_date"), name="backfill_is_resumed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.peer.title} {self.from_date} to {self.to_date}"
