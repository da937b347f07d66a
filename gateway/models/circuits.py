"""How a Peer has answered of late, for every process on every machine that calls it."""

from __future__ import annotations

from django.db import models

from gateway.models.peers import Peer


class Circuit(models.Model):
    """Whether a Peer may be called now: closed while it answers, open after it did not.

    An open circuit is tried again by one caller after `retry_at`; the others wait for what that
    one finds. It speaks of the address at which it was seen: another one is another machine.
    """

    peer = models.OneToOneField(Peer, on_delete=models.CASCADE, related_name="circuit")
    address = models.CharField(max_length=300, help_text="Title, host and port at that time.")
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    opened_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    trial_until = models.DateTimeField(
        null=True, blank=True, help_text="Somebody is trying it until then."
    )
    reason = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.peer.title}: {'open' if self.opened_at else 'closed'}"


class Line(models.Model):
    """One of the associations that may be open with a Peer at once; held by a lease."""

    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="lines")
    number = models.PositiveSmallIntegerField()
    token = models.UUIDField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("peer", "number"), name="line_is_numbered_once"),
        )

    def __str__(self) -> str:
        return f"{self.peer.title} {self.number}"
