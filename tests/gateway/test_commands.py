"""What a person types, as a person types it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from peers import Orthanc
from pictures import page, save_picture
from PIL import Image
from programs import eventually, free_port

from gateway.supervisor import Program, Supervisor
from models.labels import KEYS

ROOT = Path(__file__).resolve().parent.parent.parent


def manage(
    folder: Path, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py`` with a data folder of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "ECG_DATA_DIR": str(folder),
            "DATABASE_URL": "",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write pictures of every kind ``classify`` takes, and some it cannot."""
    folder = tmp_path / "files"
    folder.mkdir()
    raster = page()
    made = {}
    for suffix in ("png", "jpg", "bmp", "tiff"):
        made[suffix] = folder / f"page.{suffix}"
        Image.fromarray(raster).save(made[suffix])
    made["dicom"] = folder / "page.dcm"
    save_picture(made["dicom"])
    made["transparent"] = folder / "transparent.png"
    clear = np.dstack([raster, np.where(raster.min(axis=2) > 200, 0, 255).astype(np.uint8)])
    Image.fromarray(clear).save(made["transparent"])
    made["blank"] = folder / "blank.png"
    Image.fromarray(np.full((800, 1000), 255, np.uint8)).save(made["blank"])
    made["text"] = folder / "notes.txt"
    made["text"].write_text("not a picture")
    made["cut"] = folder / "cut.png"
    made["cut"].write_bytes(made["png"].read_bytes()[:2000])
    made["damaged"] = folder / "damaged.dcm"
    made["damaged"].write_bytes(made["dicom"].read_bytes()[:5000])
    made["missing"] = folder / "missing.png"
    return made


def test_classify_answers_a_line_a_page_without_database_broker_or_network(
    files: dict[str, Path], tmp_path: Path
) -> None:
    good = [files[name] for name in ("png", "jpg", "bmp", "tiff", "dicom", "transparent")]
    bad = [files[name] for name in ("blank", "text", "cut", "damaged", "missing")]
    nowhere = tmp_path / "nowhere"
    done = manage(
        nowhere,
        "classify",
        *good,
        *bad,
        DATABASE_URL="postgres://nobody@127.0.0.1:1/none",
        BROKER_URL="redis://127.0.0.1:1/0",
    )
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in (*good, *bad)]
    for line in lines[: len(good)]:
        assert line["readable"], line
        assert line["reason"] is None
        assert set(line["probabilities"]) == set(KEYS)
        assert set(line["present"]) <= set(KEYS)
        assert line["page"] == 1
        assert line["model"].count("@") == 1
        assert line["quality"]["rows"] >= 3
    for line in lines[len(good) :]:
        assert not line["readable"]
        assert line["reason"]
        assert line["probabilities"] == {}
    assert not nowhere.exists()
    # PNG, BMP, TIFF and the DICOM object hold the same pixels.
    assert lines[0]["probabilities"] == lines[2]["probabilities"] == lines[4]["probabilities"]


def test_classify_of_good_files_alone_succeeds(files: dict[str, Path], tmp_path: Path) -> None:
    assert manage(tmp_path / "none", "classify", files["png"]).returncode == 0


def test_classify_reads_every_page_of_a_file(tmp_path: Path) -> None:
    grey = cv2.cvtColor(page(), cv2.COLOR_RGB2GRAY)
    path = tmp_path / "pages.tiff"
    blank = np.full_like(grey, 255)
    images = [Image.fromarray(one) for one in (grey, blank, grey)]
    images[0].save(path, save_all=True, append_images=images[1:])
    done = manage(tmp_path / "none", "classify", path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["page"], line["readable"]) for line in lines] == [
        (1, True),
        (2, False),
        (3, True),
    ]


def test_classify_explains_each_finding_present_over_the_whole_picture(
    files: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "explained"
    again = tmp_path / "again" / "page.png"
    again.parent.mkdir()
    again.write_bytes(files["png"].read_bytes())
    paths = [files["png"], again, files["dicom"], files["blank"]]
    done = manage(tmp_path / "none", "classify", "--explain", folder, *paths)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["present"], "expected a page that shows something"
    named = []
    for line in lines[:3]:
        assert len(line["explained"]) == len(line["present"])
        for key, name in zip(line["present"], line["explained"], strict=True):
            assert name.endswith(f"-1-{key}.png")
            with Image.open(name) as picture:
                marked = np.asarray(picture).astype(np.int64)
            original = page().astype(np.int64)
            band = marked.shape[0] - original.shape[0]
            assert marked.shape[1:] == original.shape[1:]
            assert 0 < band < 0.1 * original.shape[0]
            changed = np.abs(marked[band:] - original).max(axis=2) > 20
            assert 0.0005 < changed.mean() < 0.3
            named.append(name)
    assert len(set(named)) == len(named), "a second file of the same name must not overwrite"
    assert "explained" not in lines[3]
    assert sorted(map(str, folder.iterdir())) == sorted(named)


def test_classify_says_when_it_cannot_write_its_explanations(
    files: dict[str, Path], tmp_path: Path
) -> None:
    done = manage(
        tmp_path / "none", "classify", files["png"], "--explain", files["text"] / "folder"
    )
    assert done.returncode == 1
    assert "--explain" in done.stderr
    assert "Traceback" not in done.stderr


def test_peers_are_added_listed_and_pinged(tmp_path: Path, orthanc: Orthanc) -> None:
    title, host, port = orthanc.entity_args
    assert manage(tmp_path, "migrate", "--verbosity=0").returncode == 0
    assert "no Peers yet" in manage(tmp_path, "peer", "list").stdout
    added = manage(tmp_path, "peer", "add", title, host, str(port), "--destination")
    assert added.returncode == 0, added.stderr
    assert manage(tmp_path, "peer", "add", "CART", "any", "104", "--sender").returncode == 0
    listed = manage(tmp_path, "peer", "list").stdout
    assert f"{title}@{host}:{port}" in listed
    assert "CART@any:104" in listed
    pinged = manage(tmp_path, "peer", "ping")
    assert pinged.returncode == 0, pinged.stdout + pinged.stderr
    assert "answers" in pinged.stdout
    manage(tmp_path, "peer", "add", "GONE", "127.0.0.1", str(free_port()), "--destination")
    again = manage(tmp_path, "peer", "ping")
    assert again.returncode == 1
    assert "1 of 2 did not answer" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("TITLE", "any", "104", "--destination"), "needs a host"),
        (("TITLE-FAR-TOO-LONG-TO-BE-ONE", "h", "104", "--sender"), "16"),
        (("TITLE", "h", "70000", "--sender"), "65535"),
        (("TITLE", "h", "104"), "one or more of --sender, --destination"),
    ],
)
def test_a_peer_that_cannot_be_is_refused_with_what_to_do(
    arguments: tuple[str, ...], word: str, tmp_path: Path
) -> None:
    manage(tmp_path, "migrate", "--verbosity=0")
    done = manage(tmp_path, "peer", "add", *arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    assert manage(tmp_path, "check").returncode == 0
    done = manage(tmp_path, "check", ECG_AE_TITLE="A TITLE THAT IS TOO LONG")
    assert done.returncode == 1
    assert "Set ECG_AE_TITLE" in done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    done = manage(tmp_path, "check", ECG_MODEL_DIR=str(empty))
    assert done.returncode == 1
    assert "found no card.json" in done.stderr


def test_up_names_a_port_that_is_taken(tmp_path: Path, orthanc: Orthanc) -> None:
    port = orthanc.entity_args[2]
    done = manage(tmp_path, "up", ECG_DICOM_PORT=str(port))
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert f"ECG_DICOM_PORT={port + 1}" in done.stderr


@pytest.mark.parametrize("command", ["up", "listen", "demo", "peer", "check", "classify"])
def test_help_teaches(command: str, tmp_path: Path) -> None:
    done = manage(tmp_path, command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 300


def test_the_supervisor_restarts_what_dies_and_ends_what_it_started(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = f"import signal; open({str(marks)!r}, 'a').write('x'); signal.pause()"
    said: list[tuple[str, str]] = []
    program = Program("sleeper", [sys.executable, "-c", code], niceness=3)
    with Supervisor([program], say=lambda name, text: said.append((name, text))) as running:
        eventually(lambda: marks.exists() and marks.read_text() == "x", timeout_s=20)
        first = running.pid("sleeper")
        assert first is not None
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, first) == ours + 3
        os.kill(first, signal.SIGKILL)
        eventually(lambda: marks.read_text() == "xx", timeout_s=20)
        second = running.pid("sleeper")
        assert second not in (None, first)
    assert ("sleeper", "ended (signal 9); restarting in 0.5 s") in said
    assert running.pid("sleeper") is None
    with pytest.raises(ProcessLookupError):
        os.kill(second or 0, 0)
