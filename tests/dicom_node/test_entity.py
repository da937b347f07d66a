"""An Application Entity is legal or is not made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.entity import ApplicationEntity, title_fault

LEGAL = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")


@given(st.text(LEGAL, min_size=1, max_size=16).filter(lambda title: title.strip(" ")))
def test_every_title_of_the_default_repertoire_is_legal_and_loses_its_padding(title: str) -> None:
    assert ApplicationEntity(title, "pacs", 104).title == title.strip(" ")


@pytest.mark.parametrize(
    "title", ["", " ", " " * 16, "A" * 17, "A\\B", "A\nB", "A\x00", "ÄCG", "心电图", "A\x7f"]
)
def test_an_illegal_title_is_refused_with_a_reason(title: str) -> None:
    assert title_fault(title)
    with pytest.raises(ValueError, match="AE title"):
        ApplicationEntity(title, "pacs", 104)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_outside_tcp_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        ApplicationEntity("PACS", "pacs", port)


@pytest.mark.parametrize("host", ["", "  ", "a b"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        ApplicationEntity("PACS", host, 104)


def test_it_says_who_it_is() -> None:
    assert str(ApplicationEntity(" PACS ", "10.0.0.1", 104)) == "PACS@10.0.0.1:104"
