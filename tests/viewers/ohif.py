"""Look at our reports in OHIF over an archive's DICOMweb, and keep the pictures.

    make viewers

Fetches the built viewer, fills a real Orthanc with one ECG and every report of it, opens each in a
headless Chromium, checks that the viewer shows what the report says, and writes a picture of each
into docs/viewers. It takes about two minutes and 250 MB, so it is no part of the test run.
"""

from __future__ import annotations

import argparse
import http.server
import io
import mimetypes
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
# The tests' settings: a data folder of its own.
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django  # noqa: E402

django.setup()

import pypdfium2  # noqa: E402
import report_cases  # noqa: E402
from peers import Orthanc, eventually, free_port  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom import Dataset  # noqa: E402
from selenium import webdriver  # noqa: E402

from dicom_node import report  # noqa: E402
from dicom_node.capture import secondary_capture  # noqa: E402
from gateway.outputs import Language, Output  # noqa: E402
from gateway.sources import speech_of  # noqa: E402
from models.corpus import draw_page, simulate  # noqa: E402
from models.page import find_page  # noqa: E402

OHIF: Final = "@ohif/app@3.13.2"
PLUGIN: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
SIZE_PX: Final = (1400, 900)

CONFIGURATION: Final = """window.config = {
  routerBasename: "/", extensions: [], modes: [], customizationService: {}, showStudyList: true,
  investigationalUseDialog: { option: "never" },
  defaultDataSourceName: "archive",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
    sourceName: "archive",
    configuration: {
      friendlyName: "Archive", name: "archive",
      wadoUriRoot: "/dicom-web", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web",
      qidoSupportsIncludeField: false, supportsFuzzyMatching: false, supportsWildcard: true,
      imageRendering: "wadors", thumbnailRendering: "wadors", enableStudyLazyLoad: true,
      omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: true, relativeResolution: "studies" },
    },
  }],
};"""

#: What a person has to see of each report, and in which language it is shown here.
SHOWN: Final = {
    Output.BASIC_TEXT: (Language.ENGLISH, "Atrial fibrillation: PRESENT"),
    Output.COMPREHENSIVE: (Language.ENGLISH, "Probability: 86.0"),
    Output.COMPREHENSIVE_3D: (Language.ENGLISH, "Probability: 86.0"),
    Output.RESULT_PAGE: (Language.ENGLISH, "AI ECG result"),
    # A headless Chromium shows no PDF: its page is kept as a PDF reader draws it.
    Output.PDF: (Language.CHINESE, None),
}


def reports() -> tuple[Dataset, dict[Output, Dataset]]:
    """Return an ECG and its reports."""
    raster = draw_page(simulate("af", 3), 250, "3x4+1", "pink", 3)
    source = secondary_capture(
        raster,
        patient_id="P-1",
        patient_name="Wang^XiaoDong=王^小东",
        patient_birth_date="19580412",
        patient_sex="M",
        accession_number="A-1",
        study_description="12-lead ECG",
    )
    result = report_cases.result(("af", "pvc"), region=find_page(raster).region)
    made: dict[str, Dataset] = {}
    for output, (language, _) in SHOWN.items():
        made |= report.compose(
            source,
            result,
            outputs=[output.value],
            speech=speech_of(language),
            picture=lambda: raster,
        )
    return source, {Output(name): ds for name, ds in made.items()}


def fetch(folder: Path) -> Path:
    """Fetch the viewer and return the folder of its files."""
    npm = Path(sys.executable).with_name("npm")
    done = subprocess.run(
        [npm, "pack", "--silent", OHIF], cwd=folder, check=True, capture_output=True, text=True
    )
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package" / "dist"


@contextmanager
def served(viewer: Path, archive: Orthanc) -> Iterator[str]:
    """Serve the viewer's files, and the archive's DICOMweb beside them."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            status, kind, body = self._answer(self.path.split("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            # The viewer decodes in workers with shared memory.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def _answer(self, path: str) -> tuple[int, str, bytes]:
            if path == "/app-config.js":
                return 200, "text/javascript", CONFIGURATION.encode()
            if path.startswith("/dicom-web/"):
                accept = {"Accept": self.headers.get("Accept", "*/*")}
                asked = urllib.request.Request(archive.url + self.path, headers=accept)
                try:
                    with urllib.request.urlopen(asked, timeout=30) as answer:
                        return answer.status, answer.headers["Content-Type"], answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, "text/plain", error.read()
            file = viewer / path.lstrip("/")
            if not file.is_file():
                file = viewer / "index.html"
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            return 200, "application/wasm" if file.suffix == ".wasm" else kind, file.read_bytes()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A headless Chromium that draws in software."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage",
        f"--window-size={SIZE_PX[0]},{SIZE_PX[1]}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: webdriver.Chrome, address: str, says: str) -> Image.Image:
    """Open a page of the viewer, wait for what it should say, and return its picture."""
    driver.get(address)

    def said() -> bool:
        # Asked of the page itself: it replaces its elements while it loads.
        text = driver.execute_script("return document.body.innerText")
        assert says in text, f"{says!r} not in {text[:600]!r}"
        return True

    eventually(said, timeout_s=90, interval_s=0.5, what=says)
    threading.Event().wait(6)
    driver.execute_script(
        "for (const button of document.querySelectorAll('button'))"
        " if (button.innerText.trim() === 'Skip all') button.click();"
    )
    # Pictures come after the texts; the viewer does not say when it has drawn them.
    threading.Event().wait(6)
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def printed(ds: Dataset) -> Image.Image:
    """Return the page of a PDF report."""
    with pypdfium2.PdfDocument(ds.EncapsulatedDocument) as document:
        picture: Image.Image = document[0].render(scale=1400 / document[0].get_width()).to_pil()
        return picture.convert("RGB")


def main() -> None:
    """Take a picture of every report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "viewers")
    parser.add_argument("--viewer", type=Path, help="folder of a built OHIF; fetched without")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ohif-"))
    try:
        source, made = reports()
        plugin: dict[str, Any] = {
            "Plugins": [PLUGIN],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        viewer = given.viewer or fetch(folder)
        with Orthanc(**plugin) as archive, served(viewer, archive) as root, chromium() as driver:
            for number, ds in enumerate([source, *made.values()]):
                path = folder / f"{number}.dcm"
                ds.save_as(path, enforce_file_format=True)
                archive.upload(path)
            given.out.mkdir(parents=True, exist_ok=True)
            for output, ds in made.items():
                says = SHOWN[output][1]
                if says is None:
                    target = given.out / f"{output.value}-report.jpg"
                    printed(ds).save(target, quality=80)
                    continue
                series = f"{ds.SeriesInstanceUID},{source.SeriesInstanceUID}"
                address = (
                    f"{root}/viewer?StudyInstanceUIDs={source.StudyInstanceUID}"
                    f"&SeriesInstanceUIDs={series}&initialSeriesInstanceUID={ds.SeriesInstanceUID}"
                )
                target = given.out / f"ohif-{output.value.replace('_', '-')}.jpg"
                look(driver, address, says).save(target, quality=80)
                print(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
