"""``manage.py audit``: verify the trail, note its head, export it."""

from __future__ import annotations

import getpass
import json
import sys
from argparse import ArgumentParser, FileType
from typing import Any

from django.core.management import BaseCommand, CommandError
from tqdm import tqdm

from webadmin import audit, auditing, chain
from webadmin.chained import BY_TABLE, canonical

ROWS_SHOWN = 50


class Command(BaseCommand):
    help = (
        "The trail of what machines and people did, as a chain of hashes. 'verify' finds every row "
        "and link that was changed, removed or put elsewhere (exit status 1); 'head' prints the "
        "last link, to be noted outside of this database; 'export' writes all of it as JSON lines."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        verify = steps.add_parser("verify", help="hold every link against its row")
        verify.add_argument("--head", metavar="NUMBER:HASH", help="a head that was noted before")
        verify.add_argument("--json", action="store_true", help="for machines")
        steps.add_parser("head", help="chain what is new and print the last link")
        export = steps.add_parser("export", help="write it out; it names patients")
        export.add_argument("file", type=FileType("x", encoding="utf-8"), help="a new file")

    def handle(self, *_args: Any, **options: Any) -> None:
        chain.extend(work_s=float("inf"), is_thorough=True)
        match options["step"]:
            case "verify":
                self._verify(options["head"], as_json=options["json"])
            case "head":
                self.stdout.write(str(chain.head()))
            case "export":
                with options["file"] as file:
                    self._export(file)

    def _verify(self, noted: str | None, *, as_json: bool) -> None:
        try:
            head = chain.Head.parse(noted) if noted else None
        except ValueError as error:
            raise CommandError(str(error)) from error
        with tqdm(unit=" links", file=sys.stderr, disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            verdict = auditing.verify_and_tell(actor=_person(), noted=head, progress=progress)
        if as_json:
            self.stdout.write(json.dumps(_as_json(verdict), indent=2))
        else:
            self._tell(verdict)
        if not verdict.is_whole:
            raise SystemExit(1)

    def _tell(self, verdict: auditing.Verdict) -> None:
        if verdict.is_whole:
            self.stdout.write(f"whole: {verdict.links_count:,} links, head {verdict.head}")
        else:
            self.stdout.write(
                f"broken: {verdict.faults_count:,} faults in {verdict.links_count:,} links, "
                f"the first at link {verdict.faults[0].number}"
            )
        for fault in verdict.faults[:ROWS_SHOWN]:
            self.stdout.write(f"    {fault}")
        if verdict.faults_count > ROWS_SHOWN:
            self.stdout.write(f"    and {verdict.faults_count - ROWS_SHOWN:,} more (--json)")
        if verdict.removed_count:
            self.stdout.write(
                f"{verdict.removed_count:,} rows were removed by the retention policy, as the "
                "Disposals say."
            )

    def _export(self, file: Any) -> None:
        audit.record(audit.Action.EXPORTED, actor=_person(), subject="trail")
        chain.extend(work_s=float("inf"))
        count = 0
        for link, values in chain.entries():
            line = {
                "number": link.number,
                "at": link.at,
                "table": link.table,
                "row": link.row,
                "row_sha256": link.row_sha256,
                "sha256": link.sha256,
                "values": dict(zip(BY_TABLE[link.table].columns, values, strict=True))
                if values is not None
                else None,
            }
            file.write(json.dumps(canonical(line), ensure_ascii=False) + "\n")
            count += 1
        self.stdout.write(f"{count:,} links written, head {chain.head()}")


def _person() -> str:
    """Return who sits at this machine, as far as it knows."""
    try:
        return f"manage.py audit ({getpass.getuser()})"
    except (KeyError, OSError):
        return "manage.py audit"


def _as_json(verdict: auditing.Verdict) -> dict[str, Any]:
    return {
        "is_whole": verdict.is_whole,
        "links": verdict.links_count,
        "head": str(verdict.head),
        "removed_by_policy": verdict.removed_count,
        "faults": verdict.faults_count,
        "first": [
            {"number": f.number, "table": f.table, "row": f.row, "what": f.what}
            for f in verdict.faults
        ],
    }
