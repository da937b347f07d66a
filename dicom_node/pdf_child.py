"""The process that renders a PDF, apart from everything worth protecting.

PDFium is native code and a PDF is a stranger's program. It runs here: with little memory and
processor time, without files to write, children to start, or the parent's environment to read, and
it ends with its parent. The parent speaks first: a line with a page's number, counted from 0. The
answer is a line of JSON, and for a page its pixels after it. Imports nothing of the project, so
that it starts in a tenth of a second.
"""

import json
import math
import os
import resource
import sys
from typing import Any

MAX_MEMORY_BYTES = 768 << 20
#: 200 dots an inch, the density of most exports, and a hair less: a page that is a whole number of
#: dots high is often written as a little more, and pages are rounded up.
PX_PER_POINT = 200 / 72 * (1 - 1e-4)
#: Larger pages are rendered at a lower density: an A3 sheet at 200 dpi has 8 million pixels.
MAX_PAGE_PIXELS = 12_000_000


def main(document_fd: int, start: int, length: int, cpu_s: int) -> int:
    """Serve pages of the document until the parent closes the pipe."""
    import pypdfium2 as pdfium

    _limit(cpu_s)
    answers = sys.stdout.buffer
    try:
        document = pdfium.PdfDocument(_read(document_fd, start, length))
        _answer(answers, {"pages": len(document)})
    except pdfium.PdfiumError as fault:
        # FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h.
        is_locked = getattr(fault, "err_code", None) in (4, 5)
        _answer(answers, {"fault": "encrypted" if is_locked else "broken"})
        return 0
    except MemoryError:
        _answer(answers, {"fault": "memory"})
        return 0
    except Exception:  # noqa: BLE001 (whatever it is, the document brought it about)
        _answer(answers, {"fault": "broken"})
        return 0
    for line in sys.stdin.buffer:
        try:
            page = document[int(line)]
            bitmap = page.render(
                scale=_scale(*page.get_size()), rev_byteorder=True, may_draw_forms=False
            )
        except MemoryError:
            _answer(answers, {"fault": "memory"})
            continue
        except Exception:  # noqa: BLE001 (likewise)
            _answer(answers, {"fault": "page"})
            continue
        _answer(answers, {"rows": bitmap.height, "columns": bitmap.width})
        pixels = memoryview(bitmap.buffer).cast("B")
        width = bitmap.width * 3
        for row in range(bitmap.height):
            answers.write(pixels[row * bitmap.stride : row * bitmap.stride + width])
        answers.flush()
        bitmap.close()
        page.close()
    return 0


def _limit(cpu_s: int) -> None:
    """Give up what no rendering needs. The limits cannot be raised again."""
    # The kernel says SIGXCPU at the soft limit, which names the fault, and SIGKILL at the hard one.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    for limit, value in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _read(document_fd: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(document_fd, length, start)
        if not part:
            break
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


def _scale(width_points: float, height_points: float) -> float:
    """Return pixels a point, so that no page has more than it may have."""
    area = width_points * height_points
    if not math.isfinite(area) or width_points < 1 or height_points < 1:
        raise ValueError("a page without a size")
    return min(PX_PER_POINT, math.sqrt(MAX_PAGE_PIXELS / area))


def _answer(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:5])))
