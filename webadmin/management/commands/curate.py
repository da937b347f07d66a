"""``manage.py curate``: fill the queues of ECGs that are to be read by two people."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from gateway.models import Instance
from webadmin import curation, queues

EXAMPLES = """
queues:
  random          a tenth of all ECGs, drawn by a keyed hash: figures of the network come from here
  disagreement    a reader contradicts the network
  undetermined    the network is undecided; the nearest to a threshold first
  rare            a finding that few ECGs show is present, or may be
  unfamiliar      at the edge of what the network knows, or refused beyond it

examples:
  manage.py curate                              fill every queue up to 100 ECGs, as the sweep does
  manage.py curate --queue rare --waiting 20
  manage.py curate --window 50000               look further back than the latest 5000 ECGs
  manage.py curate --request 4711 4712          have these read, before all others
"""


class Command(BaseCommand):
    help = "Fill the queues of ECGs that two people read blinded."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        names = [queue.value for queue in queues.ORDER]
        parser.add_argument("--queue", action="append", choices=names, help="only this one")
        parser.add_argument("--waiting", type=int, default=queues.WAITING_A_QUEUE, metavar="N",
                            help="ECGs that may wait in a queue")  # fmt: skip
        parser.add_argument("--window", type=int, default=queues.WINDOW, metavar="N",
                            help="how many of the latest ECGs to look at")  # fmt: skip
        parser.add_argument("--request", type=int, nargs="+", metavar="ECG",
                            help="numbers of ECGs to have read")  # fmt: skip

    def handle(self, *_args: Any, **options: Any) -> None:
        if numbers := options["request"]:
            rows = list(Instance.objects.filter(pk__in=numbers, aged_out_at=None))
            if lacking := set(numbers) - {row.pk for row in rows}:
                listed = ", ".join(str(number) for number in sorted(lacking))
                raise CommandError(f"expected ECGs whose pictures are here; not so: {listed}")
            self.stdout.write(f"{curation.request(rows)} of {len(rows)} requested anew.")
            return
        filled = curation.fill(
            queues=options["queue"] or queues.ORDER,
            waiting=options["waiting"],
            window=options["window"],
        )
        for queue, count in filled.items():
            self.stdout.write(f"{queue:<14}{count:>5} new")
