"""The sentences that are marked in the Desk, as ``makemessages`` would collect them."""

from __future__ import annotations

import gettext
import subprocess
from pathlib import Path

from django.utils.translation import templatize
from programs import require

import gateway
import webadmin
from webadmin import speaking

DESK = Path(webadmin.__file__).parent
GATEWAY = Path(gateway.__file__).parent
FOLDER = DESK / "locale" / "zh_Hans" / "LC_MESSAGES"
KEYWORDS = ("gettext", "gettext_lazy", "gettext_noop", "_", "ngettext:1,2", "ngettext_lazy:1,2")


def run(*command: str | Path) -> str:
    """Run one of GNU gettext's programs."""
    done = subprocess.run(
        [require(str(command[0])), *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sentences(path: Path) -> dict[str, str]:
    """Return the sentences of a compiled catalogue; of a plural its singular."""
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    return {
        (key[0] if isinstance(key, tuple) else key): said
        for key, said in catalogue._catalog.items()  # type: ignore[attr-defined]
        if key
    }


def collect(folder: Path) -> Path:
    """Write a template of the sentences of modules, templates and tables; return its path."""
    sources = [
        *(path for path in DESK.rglob("*.py") if "migrations" not in path.parts),
        *(GATEWAY / "models").glob("*.py"),
        *(GATEWAY / f"{name}.py" for name in ("states", "outputs", "routing", "alerts")),
    ]
    for path in (DESK / "templates").rglob("*.html"):
        source = folder / f"{path.stem}.html.py"
        source.write_text(templatize(path.read_text(), origin=str(path)))
        sources.append(source)
    tables = folder / "tables.py"
    tables.write_text("".join(f"_({said!r})\n" for said in sorted(set(speaking.words()))))
    pot = folder / "marked.pot"
    keywords = [f"--keyword={name}" for name in KEYWORDS]
    run("xgettext", "--language=Python", "--from-code=UTF-8", "--no-location", "--no-wrap",
        *keywords, "-o", pot, *sorted(sources), tables)  # fmt: skip
    head = pot.read_text().replace("charset=CHARSET", "charset=UTF-8")
    pot.write_text(head.replace("nplurals=INTEGER; plural=EXPRESSION", "nplurals=2; plural=n != 1"))
    return pot
