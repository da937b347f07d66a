"""``manage.py signin``: print a login link that works once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from webadmin.signin import LINK_LIFETIME_S, signin_link


class Command(BaseCommand):
    help = (
        "Print a link that signs a user in to the Desk once, within an hour. A user that does not "
        "exist yet is made: a superuser without a password. The first thing to do there is to make "
        "accounts for the people who will work with it."
    )

    requires_system_checks = ()  # people must get in where something is wrong

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", default="admin", help="the user's name (default: admin)")
        parser.add_argument(
            "--base-url",
            default=f"http://127.0.0.1:{settings.ECG_WEB_PORT}",
            help="where people reach the Desk (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            link = signin_link(options["user"], options["base_url"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"works once, within {LINK_LIFETIME_S // 60} minutes:")
        self.stdout.write(link)
