"""An Application Entity: a name and a place on the network."""

from dataclasses import dataclass

MAX_TITLE_CHARS = 16


def title_fault(title: str) -> str | None:
    """Return what is wrong with an AE title, or ``None`` when it is legal.

    PS3.5 section 6.2, VR AE: 1 to 16 characters of the default repertoire (ISO 646) without
    backslash and control characters, not made of spaces only.
    """
    if not title.strip(" "):
        return "an AE title must hold a character that is not a space"
    if len(title) > MAX_TITLE_CHARS:
        return f"an AE title has at most {MAX_TITLE_CHARS} characters, this one has {len(title)}"
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        return "an AE title is made of printable ASCII characters other than the backslash"
    return None


@dataclass(frozen=True)
class ApplicationEntity:
    """A peer that can be called.

    Parameters
    ----------
    title : str
        The AE title. Leading and trailing spaces do not count (PS3.5 section 6.2) and are removed.
    host : str
        Host name or IP address.
    port : int
        TCP port, 1 to 65535.

    Raises
    ------
    ValueError
        When a value is not legal; the message says which and why.
    """

    title: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if fault := title_fault(self.title):
            raise ValueError(fault)
        object.__setattr__(self, "title", self.title.strip(" "))
        host = self.host.strip()
        if not host or any(character.isspace() for character in host):
            raise ValueError("a host is a name or an address without spaces")
        object.__setattr__(self, "host", host)
        if not 1 <= self.port <= 65535:
            raise ValueError(f"a TCP port lies between 1 and 65535, not {self.port}")

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"
