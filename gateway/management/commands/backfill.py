"""``manage.py backfill``: bring ECGs of the past from an archive."""

from __future__ import annotations

import datetime
import logging
import signal
import threading
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dicom_node.errors import DicomError
from gateway import backfill, intake
from gateway.archive import ANY_MODALITY, Archive, Day
from gateway.models import Backfill, Peer

EXAMPLES = """
examples:
  manage.py peer add PACS 10.0.0.9 104 --archive
  manage.py backfill --peer PACS --from 2024-01-01 --to 2024-12-31 --dry-run
      Counts day by day what is there and what would come, names the modalities that were not
      looked into, and brings nothing.
  manage.py backfill --peer PACS --from 2024-01-01 --to 2024-12-31 --pace 30
      Brings it, 30 ECGs a minute at most. Ctrl-C ends it in good order; the same command goes on.
  manage.py backfill --peer PACS --from 2024-01-01 --to 2024-12-31 --move
      By C-MOVE: the archive calls our Listener, so it must know our AE title and address, and be
      a Peer that may send.

ECGs of today come first: the next one of the past is asked for only while fewer than --waiting
ECGs wait for a worker, so the gateway (manage.py up) has to run.

An ECG that was brought is analysed and reported like any other. To send no reports of them, or
others, make a routing rule for the sender, which is the archive's AE title.
"""

BAR = "{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left, {postfix}"


class Command(BaseCommand):
    help = (
        "Bring ECGs of the past from an archive: found by C-FIND day by day, fetched by C-GET\n"
        "(or C-MOVE), then analysed like any other. What is here already and what this gateway\n"
        "made itself is left out. A run that ended goes on where it was."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--peer", required=True, metavar="TITLE", help="the archive")
        parser.add_argument(
            "--from", dest="first", required=True, type=_date, metavar="DATE", help="YYYY-MM-DD"
        )
        parser.add_argument(
            "--to", dest="last", required=True, type=_date, metavar="DATE", help="that day included"
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and bring nothing")
        parser.add_argument(
            "--modality",
            type=_modalities,
            default=backfill.DEFAULT_MODALITIES,
            metavar="ECG,OT,SC",
            help="of the series that are looked into; ANY for all "
            f"(default: {','.join(backfill.DEFAULT_MODALITIES)})",
        )
        parser.add_argument(
            "--pace",
            type=_positive,
            default=backfill.DEFAULT_PACE,
            metavar="N",
            help=f"at most so many ECGs a minute (default: {backfill.DEFAULT_PACE})",
        )
        parser.add_argument(
            "--waiting",
            type=_positive,
            default=backfill.DEFAULT_WAITING,
            metavar="N",
            help="ask for the next one only while fewer than N ECGs wait for a worker "
            f"(default: {backfill.DEFAULT_WAITING})",
        )
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument(
            "--get", dest="way", action="store_const", const="get", help="by C-GET only"
        )
        ways.add_argument(
            "--move", dest="way", action="store_const", const="move", help="by C-MOVE only"
        )
        parser.add_argument(
            "--again", action="store_true", help="look at finished days again, for what came late"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["verbosity"] < 2:
            # The bar counts them; a line each would push it off the screen.
            logging.getLogger("gateway.keeping").setLevel(logging.WARNING)
        first, last = options["first"], options["last"]
        if last < first:
            raise CommandError(f"expected --to not before --from, received {first} to {last}")
        if last > timezone.localdate():
            raise CommandError(f"expected --to not after today, received {last}")
        peer = self._peer(options["peer"])
        with _stoppable() as stop:
            archive = Archive(peer, modalities=options["modality"], way=options["way"], stop=stop)
            try:
                if options["dry_run"]:
                    self._preview(archive, backfill.days(first, last), stop)
                else:
                    self._run(archive, backfill.find_or_make(peer, first, last), options, stop)
            except backfill.Stopped:
                raise CommandError(
                    "stopped; what came is safe, and the same command goes on", returncode=130
                ) from None
            except backfill.ArchiveAway as error:
                raise CommandError(
                    f"{peer}: {error}; what came is safe, and the same command goes on"
                ) from error
            except DicomError as error:
                raise CommandError(f"{peer}: {error}") from error
            except intake.IntakeShut as shut:
                raise CommandError(
                    f"nothing is taken now: {shut}; what came is safe, and the same command goes on"
                ) from shut
            except (DatabaseError, InterfaceError) as error:
                raise CommandError(
                    f"the database does not answer ({type(error).__name__}); what came is safe, "
                    "and the same command goes on"
                ) from error

    def _peer(self, title: str) -> Peer:
        rows = list(Peer.objects.filter(title=title, is_archive=True))
        if len(rows) != 1:
            known = ", ".join(p.title for p in Peer.objects.filter(is_archive=True)) or "none"
            raise CommandError(
                f"expected a Peer that answers queries, received {title!r}; known: {known}. "
                "manage.py peer add TITLE HOST PORT --archive"
            )
        return rows[0]

    # --- counting -------------------------------------------------------------------------------

    def _preview(self, archive: Archive, dates: list[datetime.date], stop: threading.Event) -> None:
        self.stdout.write("day           studies  would come  here already")
        total = come = here = 0
        left_out: Counter[str] = Counter()
        for day in backfill.preview(archive, dates, stop):
            self.stdout.write(_line(day))
            total += day.studies_count
            come += len(day.wanted)
            here += day.here_count
            left_out.update(day.left_out)
        self.stdout.write(f"{len(dates):4} days    {total:7}  {come:10}  {here:12}")
        if left_out:
            said = ", ".join(f"{name} {count}" for name, count in sorted(left_out.items()))
            self.stdout.write(f"not looked into, by modality (--modality), in studies: {said}")

    # --- bringing -------------------------------------------------------------------------------

    def _run(
        self, archive: Archive, row: Backfill, options: dict[str, Any], stop: threading.Event
    ) -> None:
        if options["again"]:
            row.done_through = row.ended_at = None
            row.save(update_fields=["done_through", "ended_at"])
        if row.ended_at is not None:
            self.stdout.write(
                f"finished on {timezone.localtime(row.ended_at):%Y-%m-%d %H:%M}: "
                f"{row.instances_count} ECGs of {row.studies_count} studies. "
                "To look for what came to the archive since: --again"
            )
            return
        dates = backfill.left(row)
        if row.done_through is not None:
            self.stdout.write(f"going on after {row.done_through}: {len(dates)} days left")
        bar = tqdm(total=float(len(dates)), file=self.stderr, bar_format=BAR, disable=None)

        def tell(progress: backfill.Progress) -> None:
            said = f"{progress.day}: {progress.brought} brought"
            said += f", {progress.failed} failed" if progress.failed else ""
            said += ", the gateway catches up" if progress.waits else ""
            bar.set_postfix_str(said, refresh=False)
            bar.n = progress.days
            bar.refresh()

        run = backfill.Run(
            row,
            archive,
            brakes=backfill.Brakes(options["pace"], options["waiting"]),
            stop=stop,
            tell=tell,
        )
        try:
            with logging_redirect_tqdm():
                run.go()
        finally:
            bar.close()
            row.refresh_from_db()
            self.stdout.write(
                f"{run.brought} brought now; {row.instances_count} ECGs of {row.studies_count} "
                f"studies in all; finished through {row.done_through or 'no day yet'}"
            )
        if run.failed:
            raise CommandError(
                f"{run.failed} did not come ({row.last_error}); the same command asks for them "
                "again"
            )


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Make the first Ctrl-C a wish and the second one an end."""
    stop = threading.Event()

    def wish(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.signal(number, wish) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(day: Day) -> str:
    return f"{day.date}    {day.studies_count:7}  {len(day.wanted):10}  {day.here_count:12}"


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a date as YYYY-MM-DD, received {text!r}") from None


def _modalities(text: str) -> tuple[str, ...]:
    found = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not found:
        raise ArgumentTypeError(f"expected modalities such as ECG,OT,SC or {ANY_MODALITY}")
    return found


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1, received {text!r}")
    return int(text)
