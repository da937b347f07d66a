"""``manage.py peer``: the Application Entities we know."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from dicom_node import scu
from dicom_node.errors import DicomError
from gateway import peers
from gateway.models import Peer
from gateway.models.peers import Proof
from gateway.outputs import Language, Output

EXAMPLES = """
examples:
  manage.py peer add ECGCART 10.1.2.3 104 --sender         may send pictures, from that address only
  manage.py peer add MUSE any 104 --sender                  may send pictures, from any address
  manage.py peer add PACS pacs.example.org 11112 --sender --destination
  manage.py peer add PACS pacs.example.org 11112 --sender --destination --archive
  manage.py peer add RIS 10.1.2.9 104 --worklist            says whose what is handed in is
  manage.py peer add WARD 10.1.2.7 104 --destination --output pdf --language zh-hans
  manage.py peer add PACS pacs.example.org 11112 --destination --proof query --qido https://pacs.example.org/dicom-web
  manage.py peer list
  manage.py peer ping                                       C-ECHO to every destination
"""

USES = {
    "sender": "may send",
    "destination": "receives reports",
    "archive": "answers queries",
    "worklist": "has the worklist",
}
"""What a Peer may be for: the option, which is the end of the field's name, and its words."""

PROOFS = {
    Proof.AUTO: "is asked for proof",
    Proof.COMMITMENT: "is asked for Storage Commitment",
    Proof.QUERY: "is looked into",
    Proof.NONE: "is not asked for proof",
}


class Command(BaseCommand):
    help = "Add, list or ping the Peers: who may send to us, and who gets the reports."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="add|list|ping")
        add = actions.add_parser("add", help="make a Peer known, or change what it may do")
        add.add_argument("title", help="AE title, 1 to 16 characters")
        add.add_argument("host", help="name or address; 'any' for a sender without a fixed one")
        add.add_argument("port", type=int, help="its DICOM port, 1 to 65535")
        add.add_argument("--sender", action="store_true", help="it may send pictures to us")
        add.add_argument("--destination", action="store_true", help="it receives the reports")
        add.add_argument("--archive", action="store_true", help="it answers queries: for backfill")
        add.add_argument(
            "--worklist", action="store_true", help="it has the worklist: for what is handed in"
        )
        add.add_argument(
            "--output",
            action="append",
            choices=Output.values,
            help="what it is sent; once for each. Default: basic_text and comprehensive",
        )
        add.add_argument("--language", choices=Language.values, help="of its reports. Default: en")
        add.add_argument(
            "--proof",
            choices=Proof.values,
            help="how it shows that it keeps what it took: by Storage Commitment, by a look into "
            "it, whichever it has (auto), or not at all. Default: auto",
        )
        add.add_argument(
            "--qido",
            metavar="URL",
            help="its QIDO-RS address, for that look; without it by C-FIND. Empty: has none",
        )
        actions.add_parser("list", help="show all Peers")
        ping = actions.add_parser("ping", help="C-ECHO a Peer; without a title, all destinations")
        ping.add_argument("title", nargs="?", help="AE title")

    def handle(self, *_args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(options)

    def _add(self, options: dict[str, Any]) -> None:
        host = "" if options["host"] == "any" else options["host"]
        if not any(options[use] for use in USES):
            wanted = ", ".join(f"--{use}" for use in USES)
            raise CommandError(f"say what the Peer is for: one or more of {wanted}")
        peer = Peer.objects.filter(
            title=options["title"], host=host, port=options["port"]
        ).first() or Peer(title=options["title"], host=host, port=options["port"])
        for use in USES:
            setattr(peer, f"is_{use}", options[use])
        # What is not said stays as it is, or as usual.
        peer.outputs = options["output"] or peer.outputs
        peer.language = options["language"] or peer.language
        peer.proof = options["proof"] or peer.proof
        peer.qido_url = peer.qido_url if options["qido"] is None else options["qido"]
        try:
            peer.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        peer.save()
        self.stdout.write(f"{peer}: {_purpose(peer)}")

    def _list(self, _options: dict[str, Any]) -> None:
        rows = [(str(p), _purpose(p)) for p in Peer.objects.prefetch_related("refused_outputs")]
        if not rows:
            self.stdout.write("no Peers yet: manage.py peer add TITLE HOST PORT --sender")
        width = max((len(name) for name, _ in rows), default=0)
        for name, purpose in rows:
            self.stdout.write(f"{name:<{width}}  {purpose}")

    def _ping(self, options: dict[str, Any]) -> None:
        chosen = Peer.objects.exclude(host="")
        chosen = (
            chosen.filter(title=options["title"])
            if options["title"]
            else chosen.filter(is_destination=True)
        )
        if not chosen:
            raise CommandError("no such Peer with an address; see manage.py peer list")
        failed = 0
        for peer in chosen:
            try:
                scu.echo(
                    peer.entity,
                    calling_title=settings.ECG_AE_TITLE,
                    timeouts=peers.timeouts(),
                )
            except DicomError as error:
                failed += 1
                self.stdout.write(self.style.ERROR(f"{peer}: {error}"))
            else:
                self.stdout.write(self.style.SUCCESS(f"{peer}: answers"))
        if failed:
            raise CommandError(f"{failed} of {len(chosen)} did not answer")


def _purpose(peer: Peer) -> str:
    words = [word for use, word in USES.items() if getattr(peer, f"is_{use}")]
    if peer.is_destination:
        words.append(f"as {' + '.join(peer.outputs)} in {peer.language}")
        words.append(PROOFS[Proof(peer.proof)] + (" at its QIDO-RS" if peer.qido_url else ""))
        if peer.refuses_commitment_since:
            words.append("has no Storage Commitment")
    if refused := [row.output for row in peer.refused_outputs.all()]:
        words.append(f"refuses {' + '.join(refused)}")
    return ", ".join(words) or "no use"
