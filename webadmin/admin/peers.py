"""Peers: the Application Entities we know. The one screen of the gateway that people edit."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from gateway.models import Peer
from webadmin.admin.screen import show
from webadmin.unfolded import ModelAdmin
from webadmin.words import Badge


@admin.register(Peer)
class PeerAdmin(ModelAdmin[Peer]):
    """Who may send ECGs to us and who receives the reports."""

    list_display = ("title", "address", "purpose")
    search_fields = ("^title", "^host")
    search_help_text = "AE title, host"
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("title", "host", "port")}),
        ("What it is for", {"fields": ("is_sender", "is_destination")}),
    )

    @admin.display(description="address", ordering="host")
    def address(self, row: Peer) -> str:
        return f"{row.host or 'any address'}:{row.port}" if row.host else "any address"

    @admin.display(description="what it is for")
    def purpose(self, row: Peer) -> SafeString:
        shown = SafeString("")
        if row.is_sender:
            shown += show(Badge("sends ECGs", "progress", "login"))
        if row.is_destination:
            shown += show(Badge("receives reports", "good", "logout"))
        return shown or show(Badge("not in use", "quiet", "block"))
