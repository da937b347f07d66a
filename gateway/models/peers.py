"""Who we know, what each of them wants, and who we are ourselves."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import ProtectedError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dicom_node.entity import ApplicationEntity
from gateway.outputs import UID_LENGTH, Language, Output, usual_outputs, validate_outputs


class Proof(models.TextChoices):
    """How a Peer shows that it keeps what it accepted."""

    AUTO = "auto", _("Storage Commitment, or else a read-back")
    COMMITMENT = "commitment", _("Storage Commitment")
    QUERY = "query", _("Read-back")
    NONE = "none", _("Not at all")


class Peer(models.Model):
    """An Application Entity we know: one that may send to us, one we deliver to, or both.

    A sender with an empty host may call from any address. Whoever we call (a destination, an
    archive that answers queries, a worklist) needs host and port.
    """

    title = models.CharField("AE title", max_length=16)
    host = models.CharField(
        max_length=255, blank=True, help_text="Name or address; empty: any address (senders only)."
    )
    port = models.PositiveIntegerField(
        default=104, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    is_sender = models.BooleanField("may send to us", default=False)
    is_destination = models.BooleanField("receives reports", default=False)
    is_archive = models.BooleanField(
        "answers queries", default=False, help_text="An archive that backfill may search (C-FIND)."
    )
    is_worklist = models.BooleanField(
        "has the worklist",
        default=False,
        help_text="Looks up patient and order of what people hand in (Modality Worklist).",
    )
    outputs = models.JSONField(
        default=usual_outputs,
        blank=True,
        validators=[validate_outputs],
        help_text="What it is sent, unless a routing rule says otherwise.",
    )
    language = models.CharField(
        max_length=8,
        choices=Language,
        default=Language.ENGLISH,
        help_text="Of the sentences in its reports.",
    )
    proof = models.CharField(
        max_length=16,
        choices=Proof,
        default=Proof.AUTO,
        help_text="How it shows that it keeps what it accepted.",
    )
    qido_url = models.URLField(
        "QIDO-RS address",
        blank=True,
        help_text="Of its DICOMweb service, for the read-back; empty: by C-FIND.",
    )
    refuses_commitment_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Seen to have no Storage Commitment: it is read back instead.",
    )
    max_lines = models.PositiveSmallIntegerField(
        "associations at once",
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(32)],
        help_text="At most so many of ours at a time; leave a worker free for other Peers.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("title", "host")
        constraints = (
            models.UniqueConstraint(fields=("title", "host", "port"), name="peer_is_unique"),
        )

    def __str__(self) -> str:
        return f"{self.title}@{self.host or 'any'}:{self.port}"

    def clean(self) -> None:
        if not self.host and (self.is_destination or self.is_archive or self.is_worklist):
            raise ValidationError({"host": "A Peer that we call needs a host."})
        if self.is_destination and not self.outputs:
            raise ValidationError({"outputs": "A Peer that receives reports needs one at least."})
        try:
            ApplicationEntity(self.title, self.host or "any", self.port)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete a Peer that no rule names: a rule that lost its Peers would send nowhere."""
        rules: set[models.Model] = set(self.rules.all())
        if rules:
            raise ProtectedError(f"{self.title} is named by a routing rule.", rules)
        return super().delete(*args, **kwargs)

    @property
    def entity(self) -> ApplicationEntity:
        """The address of this Peer as a value."""
        return ApplicationEntity(self.title, self.host, self.port)


class RefusedOutput(models.Model):
    """A kind of object that a Peer was seen to refuse: it gets the next of the chain instead.

    A person who has changed the Peer's configuration deletes the row, and it is tried again. It
    speaks of the address at which it was seen: another one is another archive.
    """

    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="refused_outputs")
    output = models.CharField(max_length=24, choices=Output)
    address = models.CharField(max_length=300, help_text="Title, host and port at that time.")
    sop_class_uid = models.CharField("SOP Class UID", max_length=UID_LENGTH)
    reason = models.CharField(max_length=300, blank=True)
    refused_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("peer", "output")
        constraints = (
            models.UniqueConstraint(fields=("peer", "output"), name="output_is_refused_once"),
        )

    def __str__(self) -> str:
        return f"{self.peer.title} refuses {self.get_output_display()}"


class Installation(models.Model):
    """This gateway as a device: one row, made once, the same in every report (TID 1004)."""

    device_uid = models.CharField("Device Observer UID", max_length=UID_LENGTH)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(pk=1), name="installation_is_one_row"),
        )

    def __str__(self) -> str:
        return self.device_uid

    @classmethod
    def load(cls) -> Installation:
        """Return the one row, made at first use."""
        row, _ = cls.objects.get_or_create(
            pk=1, defaults={"device_uid": f"2.25.{uuid.uuid4().int}"}
        )
        return row

    @property
    def serial(self) -> str:
        """A serial number people can read out: the last eight digits of the UID."""
        return self.device_uid[-8:]
