"""deploy/nginx before the real Desk: TLS, names, static files, and headers nobody can forge."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployed import DEPLOY, ROOT
from programs import Program, free_port, is_listening, require

HOST = "desk.test"


@dataclass(frozen=True)
class Door:
    """A running proxy and the ports it and the Desk listen on."""

    http_port: int
    https_port: int
    desk_port: int
    certificate: Path

    def get(
        self, path: str, *, secure: bool = True, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (lower case) and body of a GET for the Desk's own name."""
        connection: http.client.HTTPConnection
        if secure:
            context = ssl.create_default_context(cafile=str(self.certificate))
            connection = http.client.HTTPSConnection(
                "localhost", self.https_port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection("localhost", self.http_port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Host": HOST, **sent})
        answer = connection.getresponse()
        try:
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    make_certificate(folder)
    (folder / "static").mkdir()
    (folder / "static" / "desk.css").write_text("body { color: black }")
    http_port, https_port, desk_port = free_port(), free_port(), free_port()
    configuration = fill_in(folder, http_port=http_port, https_port=https_port, desk=desk_port)
    environment = {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "ECG_DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'desk.sqlite3'}",
        "ECG_ALLOWED_HOSTS": f"localhost,{HOST}",
        "ECG_HTTPS": "true",
    }
    subprocess.run(
        [sys.executable, ROOT / "manage.py", "migrate", "--no-input", "--verbosity", "0"],
        env={**os.environ, **environment},
        timeout=120,
        check=True,
    )
    desk = Program(
        [
            *(sys.executable, "-m", "gunicorn", "gateway.wsgi", "--chdir", ROOT),
            *("--bind", f"127.0.0.1:{desk_port}", "--no-control-socket"),
        ],
        folder=folder,
        name="desk",
        environment=environment,
    )
    nginx = Program([require("nginx"), "-c", configuration], folder=folder, name="nginx")
    with desk, nginx:
        desk.start(ready=lambda: is_well(desk_port).returncode == 0, timeout_s=60)
        nginx.start(ready=lambda: is_listening(https_port))
        yield Door(http_port, https_port, desk_port, folder / "desk.crt")


def is_well(desk_port: int) -> subprocess.CompletedProcess[str]:
    """Ask the Desk as the containers' health check does."""
    return subprocess.run(
        [sys.executable, DEPLOY / "healthcheck.py", "http", str(desk_port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def make_certificate(folder: Path) -> None:
    subject = ["-subj", f"/CN={HOST}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "desk.key"), "-out", str(folder / "desk.crt")]
    subprocess.run(
        [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        capture_output=True,
        timeout=60,
        check=True,
    )


def fill_in(folder: Path, *, http_port: int, https_port: int, desk: int) -> Path:
    """Write the configuration as envsubst makes it, with free ports, inside a minimal nginx."""
    text = (DEPLOY / "nginx" / "desk.conf.template").read_text()
    values = {
        "DESK_HOST": HOST,
        "DESK_UPSTREAM": f"127.0.0.1:{desk}",
        "STATIC_DIR": str(folder / "static"),
        "TLS_DIR": str(folder),
    }
    for name, value in values.items():
        assert f"${{{name}}}" in text
        text = text.replace(f"${{{name}}}", value)
    assert text.count("listen 80;") == text.count("listen 443 ssl;") == 1
    text = text.replace("listen 80;", f"listen 127.0.0.1:{http_port};")
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{https_port} ssl;")
    temporary = "".join(
        f"    {kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "desk.conf").write_text(text)
    path = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""  # the folder is this account's alone
    path.write_text(
        f"{user}daemon off;\npid {folder / 'nginx.pid'};\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n    include /etc/nginx/mime.types;\n{temporary}"
        f"    include {folder / 'desk.conf'};\n}}\n"
    )
    return path


def test_plain_http_is_sent_to_https(door: Door) -> None:
    status, headers, _ = door.get("/desk/", secure=False)
    assert (status, headers["location"]) == (301, f"https://{HOST}/desk/")


def test_the_login_page_comes_through_with_secure_cookies(door: Door) -> None:
    status, headers, body = door.get("/desk/login/")
    assert status == 200
    assert b"csrfmiddlewaretoken" in body
    assert "secure" in headers["set-cookie"].lower()
    assert "strict-transport-security" in headers
    assert "nginx/" not in headers["server"]


def test_a_forged_forwarded_header_changes_nothing(door: Door) -> None:
    # Django would redirect to https for ever if a client's word reached it.
    status, _, _ = door.get("/desk/login/", X_Forwarded_Proto="http")
    assert status == 200
    status, _, _ = door.get("/desk/login/", X_Forwarded_Host="evil.example")
    assert status == 200


def test_static_files_are_served_without_the_desk(door: Door) -> None:
    status, headers, body = door.get("/static/desk.css")
    assert (status, body) == (200, b"body { color: black }")
    assert headers["content-type"] == "text/css"
    assert headers["x-content-type-options"] == "nosniff"
    assert door.get("/static/../nginx.conf")[0] in (400, 404)


def test_the_health_check_of_the_image_finds_the_desk_well(door: Door) -> None:
    assert is_well(door.desk_port).returncode == 0
    # The same question to something that answers, but is no healthy Desk.
    ill = is_well(door.http_port)
    assert ill.returncode == 1
    assert "received 301" in ill.stderr


@pytest.mark.parametrize(("version", "accepted"), [("-tls1_2", True), ("-tls1_1", False)])
def test_only_protocols_of_today_are_spoken(door: Door, version: str, accepted: bool) -> None:
    shaken = subprocess.run(
        [
            *(require("openssl"), "s_client", "-connect", f"localhost:{door.https_port}"),
            *(version, "-cipher", "DEFAULT@SECLEVEL=0"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (shaken.returncode == 0) is accepted, shaken.stderr.decode()
