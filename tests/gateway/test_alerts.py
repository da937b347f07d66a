"""Who is told of a finding, by a real HTTP server and a real mail server."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from desk_rows import analyse, make_alert, make_alert_rule, make_ecg
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from programs import eventually, free_port, require
from pytest_django import Settings
from workers import broker, worker

from gateway import alerts, doorbell, spool, tasks, webhook
from gateway import mail as mail_out
from gateway.celery import app
from gateway.models import Alert, AlertRule, Finding, Instance
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

MIGRATION = importlib.import_module("gateway.migrations.0005_alert_as_raised")
SECRET = "a shared secret"


class Receiver:
    """An HTTP server that keeps what it is told, and answers what a test says."""

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self.status = 204
        self.location = ""
        self.hang = threading.Event()
        self.hang.set()
        self.drips = False
        self.told: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.told.append((dict(self.headers), body))
                outer.hang.wait(20)
                if outer.drips:
                    outer.drip(self.wfile)
                    return
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            # In the thread of each client: a handshake that fails then ends that thread alone.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def drip(self, out: Any) -> None:
        """Answer a letter at a time, without end."""
        try:
            for _ in range(100):
                out.write(b"H")
                out.flush()
                time.sleep(0.1)  # the fault itself, not a wait for something
        except OSError:
            pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/ecg?ward=3"

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_WEBHOOK_SECRET = SECRET
    settings.ECG_DESK_URL = "https://ecg.example.org/"
    # No broker in these tests: the bell is tried once and rests.
    monkeypatch.setattr(doorbell, "_silent_until", time.monotonic() + 3600)


def fibrillating(**values: Any) -> Instance:
    """Return an analysed ECG of a named patient with atrial fibrillation."""
    return analyse(make_ecg(patient_id="P-SECRET", accession="A-SECRET", **values), {"af": 0.931})


# --- raising --------------------------------------------------------------------------------------


def test_each_active_rule_that_fits_makes_one_alert_however_often_it_is_asked() -> None:
    ecg = fibrillating()
    fitting = {
        make_alert_rule("present"),
        make_alert_rule("probable", min_probability=0.93),
        make_alert_rule("from the cart", sender="CART"),
    }
    make_alert_rule("more probable", min_probability=0.94)
    make_alert_rule("from elsewhere", sender="MUSE")
    make_alert_rule("off", is_active=False)
    make_alert_rule("another finding", finding="pvc")
    assert alerts.raise_for(ecg) == 3
    assert alerts.raise_for(ecg) == 0
    assert {alert.rule for alert in Alert.objects.all()} == fitting


def test_an_ecg_of_the_past_alarms_nobody() -> None:
    make_alert_rule()
    assert alerts.raise_for(fibrillating(door="backfill")) == 0
    assert alerts.raise_for(fibrillating(door="upload")) == 1


def test_an_alert_is_there_when_its_findings_are_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rung: list[int] = []
    monkeypatch.setattr(doorbell, "ring_alert", rung.append)
    ecg = make_ecg()
    make_alert_rule()

    class Broken(Exception):
        pass

    def break_off() -> None:
        with transaction.atomic():
            analyse(ecg, {"af": 0.9})
            alerts.raise_for(ecg)
            raise Broken

    with pytest.raises(Broken):
        break_off()
    assert Alert.objects.count() == Finding.objects.count() == len(rung) == 0
    with transaction.atomic():
        analyse(Instance.objects.get(pk=ecg.pk), {"af": 0.9})
        alerts.raise_for(Instance.objects.get(pk=ecg.pk))
        assert rung == []
    assert Alert.objects.count() == 1
    assert rung == [ecg.pk]


# --- the webhook ----------------------------------------------------------------------------------


def test_a_webhook_is_told_once_signed_with_a_link_and_no_patient(receiver: Receiver) -> None:
    ecg = fibrillating()
    make_alert_rule("AF on the ward", target=receiver.url)
    alerts.raise_for(ecg)
    assert alerts.send_waiting() == 1
    assert alerts.send_waiting() == 0
    ((headers, body),) = receiver.told
    alert = Alert.objects.get()
    assert (alert.outcome, alert.attempts) == (Alert.Outcome.SENT, 1)
    told = json.loads(body)
    link = "https://ecg.example.org" + reverse("admin:gateway_instance_change", args=[ecg.pk])
    assert told["link"] == link
    assert (told["finding"], told["name"]) == ("af", "Atrial fibrillation")
    assert (told["probability"], told["present"]) == (0.931, True)
    assert told["notice"] == "AI result, unverified"
    assert datetime.datetime.fromisoformat(told["raised_at"]) == alert.raised_at
    assert headers["Idempotency-Key"] == told["id"]
    assert told["id"].endswith(f"-{alert.pk}")
    assert headers["X-ECG-Signature"] == webhook.sign(SECRET, headers["X-ECG-Timestamp"], body)
    assert abs(int(headers["X-ECG-Timestamp"]) - time.time()) < 60
    assert ecg.study is not None
    for private in ("SECRET", ecg.sop_instance_uid, ecg.study.study_instance_uid):
        assert private not in body.decode()


def test_only_a_rule_that_says_so_names_the_patient(receiver: Receiver) -> None:
    make_alert_rule(target=receiver.url, names_patient=True)
    alerts.raise_for(fibrillating())
    alerts.send_waiting()
    told = json.loads(receiver.told[0][1])
    assert (told["patient_id"], told["accession_number"]) == ("P-SECRET", "A-SECRET")


def test_without_a_secret_it_is_not_signed(receiver: Receiver, settings: Settings) -> None:
    settings.ECG_WEBHOOK_SECRET = ""
    make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    alerts.send_waiting()
    assert "X-ECG-Signature" not in receiver.told[0][0]


def test_it_is_tried_again_with_the_same_key_until_it_is_through(receiver: Receiver) -> None:
    alert = make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    receiver.status = 503
    alerts.send_waiting()
    alert.refresh_from_db()
    assert (alert.outcome, alert.last_error) == (Alert.Outcome.WAITING, "answered 503")
    assert alerts.overdue(limit=8) == [alert.pk]
    receiver.status = 200
    alerts.send_waiting()
    alert.refresh_from_db()
    assert (alert.outcome, alert.attempts, alert.last_error) == (Alert.Outcome.SENT, 2, "")
    keys = {headers["Idempotency-Key"] for headers, _ in receiver.told}
    assert (len(receiver.told), len(keys)) == (2, 1)


def test_each_wait_is_longer_and_after_the_last_it_fails_and_can_be_tried_again(
    receiver: Receiver, settings: Settings
) -> None:
    settings.ECG_ATTEMPTS, settings.ECG_BACKOFF_S = 3, 100.0
    alert = make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    receiver.status = 500
    waits = []
    for _ in range(3):
        Alert.objects.update(not_before=timezone.now())
        assert alerts.send_waiting() == 1
        alert.refresh_from_db()
        waits.append((alert.not_before - timezone.now()).total_seconds())
    assert 49 < waits[0] <= 100 < waits[1] + 1 <= 201
    assert (alert.outcome, alert.attempts) == (Alert.Outcome.FAILED, 3)
    assert alert.ended_at is not None
    assert alerts.send_waiting() == 0
    receiver.status = 200
    assert alerts.retry(alert)
    assert not alerts.retry(alert)
    assert alerts.send_waiting() == 1
    alert.refresh_from_db()
    assert (alert.outcome, alert.attempts) == (Alert.Outcome.SENT, 1)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    elsewhere = Receiver()
    receiver.status, receiver.location = 307, elsewhere.url
    alert = make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    alerts.send_waiting()
    elsewhere.close()
    alert.refresh_from_db()
    assert alert.last_error == "answered 307: it lies elsewhere, and no redirect is followed"
    assert elsewhere.told == []


@pytest.mark.parametrize("fault", ["hangs", "drips", "is away"])
def test_every_wait_has_an_end(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(webhook, "TOTAL_S", 1.0)
    url = receiver.url
    if fault == "hangs":
        receiver.hang.clear()
    receiver.drips = fault == "drips"
    if fault == "is away":
        url = f"http://127.0.0.1:{free_port()}/"
    alert = make_alert(fibrillating(), make_alert_rule(target=url))
    began = time.monotonic()
    alerts.send_waiting()
    assert time.monotonic() - began < 3
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.WAITING
    assert alert.last_error.startswith("no answer")
    assert "127.0.0.1" not in alert.last_error


@contextmanager
def answering(first: bytes, drop: bytes = b"", *, every_s: float = 0.1) -> Iterator[int]:
    """Listen; answer `first`, then a `drop` at a time: no HTTP server, nor one of TLS."""
    stopped = threading.Event()

    def answer() -> None:
        try:
            client, _ = server.accept()
            with client:
                client.sendall(first)
                while not stopped.wait(every_s):
                    client.sendall(drop)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        stopped.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize("drop", [b"", b"\0"], ids=["hangs", "drips"])
def test_a_handshake_that_does_not_end_is_ended(
    drop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TOTAL_S", 1.0)
    # A record of 16 KB that begins: TLS waits for the rest of it.
    with answering(b"\x16\x03\x03\x40\x00\x02", drop) as port:
        began = time.monotonic()
        with pytest.raises(webhook.NotTaken, match="no answer in time"):
            webhook.post(f"https://127.0.0.1:{port}/", b"{}", key="1", secret="")
    assert time.monotonic() - began < 3


def test_over_tls_a_receiver_is_told_when_its_certificate_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [str(require("openssl")), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    server = Receiver(certificate, key)
    url = server.url.replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(webhook.NotTaken, match="certificate"):
        webhook.post(url, b"{}", key="1", secret="")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    webhook.post(url, b"{}", key="1", secret="")
    server.close()
    ((_, body),) = server.told
    assert body == b"{}"


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TOTAL_S", 1.0)
    found = threading.Event()

    def look_up(*_: object, **__: object) -> list[Any]:
        found.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    with pytest.raises(webhook.NotTaken, match="no answer in time"):
        webhook.post("http://ward.example.org/", b"{}", key="1", secret="")
    assert time.monotonic() - began < 3
    found.set()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 202 Accepted\r\n", None),
        (b"HTTP/1.0 204 \r\n", None),
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 410 Gone\r\n", "answered 410"),
        (b"220 mail.example.org ESMTP\r\n", "no answer: BadStatusLine"),
        (b"H" * 5000, "no answer: BadStatusLine"),
        (b"HTTP/1.1 100 \r\n" + b"X: y\r\n" * 900, "no answer: BadStatusLine"),
    ],
)
def test_the_status_alone_decides(answer: bytes, reason: str | None) -> None:
    with answering(answer) as port:
        expected = pytest.raises(webhook.NotTaken, match=reason) if reason else nullcontext()
        with expected:
            webhook.post(f"http://127.0.0.1:{port}/", b"{}", key="1", secret="")


def test_a_receiver_that_is_away_costs_one_wait_and_others_are_told(receiver: Receiver) -> None:
    dead = make_alert_rule("dead", target=f"http://127.0.0.1:{free_port()}/")
    alive = make_alert_rule("alive", target=receiver.url)
    ecgs = [fibrillating() for _ in range(3)]
    for ecg in ecgs:
        make_alert(ecg, dead)
    for ecg in ecgs:
        make_alert(ecg, alive)
    assert alerts.send_waiting() == 4, "three that are told, one that is not there"
    assert len(receiver.told) == 3
    assert Alert.objects.filter(rule=dead, attempts=0).count() == 2


def test_a_process_that_dies_while_it_sends_leaves_a_row_that_comes_due_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(_alert: Alert) -> None:
        raise Died

    alert = make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "_tell", die)
        with pytest.raises(Died):
            alerts.send_waiting()
    assert alerts.send_waiting() == 0, "for now it belongs to the dead"
    Alert.objects.update(not_before=timezone.now())
    assert alerts.send_waiting() == 1
    alert.refresh_from_db()
    assert (alert.outcome, alert.attempts) == (Alert.Outcome.SENT, 2)


def test_a_rule_that_was_switched_off_tells_nobody_also_when_it_is_on_again(
    receiver: Receiver,
) -> None:
    rule = make_alert_rule(target=receiver.url)
    alert = make_alert(fibrillating(), rule)
    AlertRule.objects.update(is_active=False)
    assert alerts.send_waiting() == 0
    AlertRule.objects.update(is_active=True)
    assert alerts.send_waiting() == 0
    assert alerts.overdue(limit=1) == []
    assert receiver.told == []
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.WITHDRAWN
    assert alert.ended_at is not None
    assert not alerts.retry(alert)


def test_what_waits_tells_what_was_found_when_it_was_raised(receiver: Receiver) -> None:
    make_alert_rule(target=receiver.url)
    ecg = fibrillating()
    alerts.raise_for(ecg)
    AlertRule.objects.update(finding="pvc", min_probability=0.99)
    Finding.objects.filter(instance=ecg).update(probability=0.01, verdict="absent")
    alerts.send_waiting()
    told = json.loads(receiver.told[0][1])
    assert (told["finding"], told["name"]) == ("af", "Atrial fibrillation")
    assert (told["probability"], told["present"]) == (0.931, True)
    assert alerts.describe_raised(Alert.objects.get()) == "Atrial fibrillation 93.1%, present"


def test_the_order_that_is_named_is_that_of_the_ecg_and_not_of_its_study(
    receiver: Receiver,
) -> None:
    make_alert_rule(target=receiver.url, names_patient=True)
    make_alert_rule("names nobody", target=receiver.url)
    first = fibrillating()
    second = analyse(make_ecg(patient_id="P-SECRET", accession="A-2", study=first.study), {"af": 1})
    alerts.raise_for(second)
    alerts.send_waiting()
    told = {body["rule"]: body for body in (json.loads(body) for _, body in receiver.told)}
    assert told["AF"]["accession_number"] == "A-2"
    assert "accession_number" not in told["names nobody"]
    assert Alert.objects.get(rule__name="names nobody").accession_number == ""


def test_an_ecg_whose_header_cannot_be_read_names_no_order_and_raises_all_the_same() -> None:
    make_alert_rule(names_patient=True)
    ecg = fibrillating()
    spool.locate(ecg.spool_name).unlink()
    assert alerts.raise_for(ecg) == 1
    assert Alert.objects.get().accession_number == ""


def test_the_migration_gives_alerts_that_wait_what_is_known() -> None:
    alert = Alert.objects.create(rule=make_alert_rule(), instance=fibrillating())
    MIGRATION.keep_findings(apps, None)
    alert.refresh_from_db()
    assert (alert.finding, alert.probability, alert.is_present) == ("af", 0.931, True)


def test_an_alert_waits_behind_no_report(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "_silent_until", 0.0)
    make_alert_rule(target=receiver.url)
    ecg = fibrillating()
    # Nobody works on the queue of reports at all.
    with broker(tmp_path), worker("alerts"):
        assert doorbell.ring(ecg.pk, State.ANALYSED)
        alerts.raise_for(ecg)
        eventually(lambda: Alert.objects.filter(outcome=Alert.Outcome.SENT).exists())
    assert len(receiver.told) == 1


def test_an_alert_whose_bell_was_lost_is_swept_up(receiver: Receiver) -> None:
    make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    assert "sweep_alerts" in app.conf.beat_schedule
    tasks.sweep_alerts()
    assert len(receiver.told) == 1


# --- e-mail ---------------------------------------------------------------------------------------


class Mailbox:
    """What a mail server of aiosmtpd does with a message."""

    def __init__(self) -> None:
        self.refusal = ""
        self.unknown: set[str] = set()
        self.delay_s = 0.0
        self.mails: list[tuple[list[str], bytes]] = []

    async def handle_MAIL(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.delay_s)  # the fault itself
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refusal:
            return self.refusal
        self.mails.append((list(envelope.rcpt_tos), bytes(envelope.content)))
        return "250 OK"


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.DEFAULT_FROM_EMAIL = "gateway@example.org"
    yield box
    server.stop()


def test_mail_goes_to_each_address_and_is_tried_again(mailbox: Mailbox) -> None:
    rule = make_alert_rule(channel="email", target="a@example.org, b@example.org")
    rule.full_clean()
    alert = make_alert(fibrillating(), rule)
    mailbox.refusal = "451 later"
    alerts.send_waiting()
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.WAITING
    assert "451" in alert.last_error
    mailbox.refusal = ""
    alerts.send_waiting()
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.SENT
    (first, content), (second, same) = mailbox.mails
    assert (first, second) == (["a@example.org"], ["b@example.org"])
    assert content == same
    assert b"\n" not in content.replace(b"\r\n", b"")
    mail = message_from_bytes(content)
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail["Subject"] == "ECG alert: Atrial fibrillation 93.1%"
    assert str(alert.pk) in mail["Message-ID"]
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"https://ecg.example.org/desk/" in text
    assert b"AI result, unverified" in text
    assert b"SECRET" not in content


def test_one_address_of_several_that_is_refused_is_not_sent_and_the_others_get_it_once(
    mailbox: Mailbox,
) -> None:
    target = "a@example.org, gone@example.org, b@example.org"
    alert = make_alert(fibrillating(), make_alert_rule(channel="email", target=target))
    mailbox.unknown = {"gone@example.org"}
    for _ in range(2):
        alerts.send_waiting()
        alert.refresh_from_db()
        assert alert.outcome == Alert.Outcome.WAITING
        assert alert.last_error.endswith("refused: answered 550")
    assert alert.reached == ["a@example.org", "b@example.org"]
    mailbox.unknown = set()
    alerts.send_waiting()
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.SENT
    told = [recipients for recipients, _ in mailbox.mails]
    assert told == [["a@example.org"], ["b@example.org"], ["gone@example.org"]]


def test_a_mail_server_that_takes_its_time_is_ended_before_the_claim_ends(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No wait is longer than one may be, but all together are.
    monkeypatch.setattr(mail_out, "TOTAL_S", 0.7)
    mailbox.delay_s = 0.3
    target = ",".join(f"{number}@example.org" for number in range(9))
    alert = make_alert(fibrillating(), make_alert_rule(channel="email", target=target))
    began = time.monotonic()
    alerts.send_waiting()
    assert time.monotonic() - began < 2
    alert.refresh_from_db()
    assert (alert.outcome, alert.last_error) == (Alert.Outcome.WAITING, "no answer in time")
    assert alert.reached
    assert mail_out.TOTAL_S + 2 * mail_out.TIMEOUT_S < alerts.CLAIM_S


def test_what_was_sent_is_sent_even_by_who_lost_the_row_meanwhile(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = make_alert(fibrillating(), make_alert_rule(target=receiver.url))
    tell = alerts._tell

    def outlast_the_claim(claimed: Alert) -> None:
        tell(claimed)
        Alert.objects.filter(pk=claimed.pk).update(attempts=7)

    monkeypatch.setattr(alerts, "_tell", outlast_the_claim)
    assert alerts.send_waiting() == 1
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.SENT


def test_a_mail_server_that_is_away_is_a_reason(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    alert = make_alert(fibrillating(), make_alert_rule(channel="email", target="a@example.org"))
    alerts.send_waiting()
    alert.refresh_from_db()
    assert alert.last_error == "ConnectionRefusedError: Connection refused"


# --- what may be set up ---------------------------------------------------------------------------


def rule_of(channel: str, target: str) -> Callable[[], None]:
    """Return the check of such a rule."""
    return AlertRule(name="x", finding="af", channel=channel, target=target).full_clean


@pytest.mark.parametrize(
    "target",
    [
        "ward.example.org/ecg",
        "ftp://ward.example.org/",
        "file:///etc/passwd",
        "https://",
        "https://user:password@ward.example.org/",
        "https://ward.example.org:99999/",
        "https://ward.example.org/a b",
        "https://ward.example.org/\r\nX: y",
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused_in_the_form(target: str) -> None:
    with pytest.raises(ValidationError, match=r"address|password"):
        rule_of("webhook", target)()


@pytest.mark.parametrize("target", ["nobody", "a@example.org, nobody", ","])
def test_what_is_no_mail_address_is_refused_in_the_form(target: str) -> None:
    with pytest.raises(ValidationError):
        rule_of("email", target)()


def test_good_targets_pass() -> None:
    rule_of("webhook", "https://ward.example.org:8443/ecg?x=1")()
    rule_of("webhook", "http://[::1]:8080/")()
    rule_of("email", "a@example.org,b@example.org")()
