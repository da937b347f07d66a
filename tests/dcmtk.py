"""DCMTK's command line clients: what they answered and what they said."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from programs import require
from resident import LOOPBACK


@dataclass(frozen=True)
class Outcome:
    """How a program ended: its exit status, and what it printed on both channels."""

    returncode: int
    output: str


def dcmtk(program: str, *arguments: str | Path, timeout_s: float = 60.0) -> Outcome:
    """Run one of DCMTK's programs to its end."""
    done = subprocess.run(
        [require(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(errors="replace"))


def storescu(
    *paths: Path,
    host: str = LOOPBACK,
    port: int,
    calling: str = "STORESCU",
    called: str = "ECGGATEWAY",
    options: tuple[str, ...] = (),
    timeout_s: float = 60.0,
) -> Outcome:
    """Send DICOM files with DCMTK's storescu, proposing just what the files need.

    Parameters
    ----------
    paths
        Files to send, on one association.
    host, port, calling, called
        Whom to call, and by which titles.
    options
        Further options of storescu, such as ``"--propose-jpeg8"``; ``-R`` (propose only the SOP
        classes of the files) is always set, ``-v`` too, so that the output holds the statuses.
    """
    titles = ("-aet", calling, "-aec", called)
    fixed = ("-v", "-R", "-nh", *titles, *options, host, str(port))
    return dcmtk("storescu", *fixed, *paths, timeout_s=timeout_s)


def echoscu(
    *,
    host: str = LOOPBACK,
    port: int,
    calling: str = "ECHOSCU",
    called: str = "ECGGATEWAY",
    options: tuple[str, ...] = (),
    timeout_s: float = 30.0,
) -> Outcome:
    """Ask for one C-ECHO with DCMTK's echoscu."""
    titles = ("-aet", calling, "-aec", called)
    return dcmtk("echoscu", "-v", *titles, *options, host, str(port), timeout_s=timeout_s)
