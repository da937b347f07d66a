"""Which reports of a result go where, decided by values alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture
from pytest_django import Settings
from rows import make_instance

from gateway import spool
from gateway.models import Finding, ModelVersion, Peer, RefusedOutput, Rule, Study
from gateway.outputs import FALLBACK, Language, Output, accepted, chain
from gateway.routing import (
    Decision,
    Facts,
    Meant,
    Receiver,
    Routing,
    RoutingRule,
    Seen,
    checks,
    describe,
    facts_of,
    fits,
    route,
)
from models.labels import KEYS

USUAL = (Output.BASIC_TEXT, Output.COMPREHENSIVE)
PACS = Receiver(1, "PACS", USUAL)
WARD = Receiver(2, "WARD", (Output.PDF,), Language.CHINESE)
AF = Facts(
    sender="CART",
    station_name="ECG-3",
    modality="ECG",
    descriptions=("Ruhe-EKG  12 Kanal", "Notaufnahme"),
    findings={"af": Seen(0.93, is_present=True), "pac": Seen(0.4, is_present=False)},
)

titles = st.sampled_from(["", "CART", "MUSE", "cart"])
rules_ = st.builds(
    RoutingRule,
    name=st.text(min_size=1, max_size=3),
    sender=titles,
    modality=st.sampled_from(["", "ECG", "OT"]),
    description=st.sampled_from(["", "rest", "NOT"]),
    finding=st.sampled_from(["", *KEYS[:3]]),
    min_probability=st.one_of(st.none(), st.floats(0, 1)),
    destinations=st.lists(st.integers(1, 4), unique=True, max_size=3).map(tuple),
    outputs=st.lists(st.sampled_from(Output), unique=True, max_size=4).map(tuple),
)
receivers_ = st.lists(
    st.builds(
        Receiver,
        peer=st.integers(1, 4),
        title=st.just("PEER"),
        outputs=st.lists(st.sampled_from(Output), unique=True, min_size=1).map(tuple),
        language=st.sampled_from(Language),
        refused=st.frozensets(st.sampled_from(Output)),
    ),
    unique_by=lambda receiver: receiver.peer,
    max_size=4,
)
facts_ = st.builds(
    Facts,
    sender=titles,
    modality=st.sampled_from(["", "ECG"]),
    descriptions=st.tuples(st.sampled_from(["", "At rest", "Notaufnahme"])),
    findings=st.dictionaries(
        st.sampled_from(KEYS[:3]), st.builds(Seen, st.floats(0, 1), st.booleans())
    ),
)


@given(facts_, st.lists(rules_, max_size=5), receivers_)
def test_whatever_the_rules_the_decision_keeps_its_promises(
    facts: Facts, rules: list[RoutingRule], destinations: list[Receiver]
) -> None:
    decision = route(facts, rules, destinations)
    fitting = [rule for rule in rules if fits(rule, facts)]
    assert decision.rule == (fitting[0] if fitting else None), "the first that fits decides"
    known = {receiver.peer: receiver for receiver in destinations}
    asked = set(known) if decision.rule is None else set(known) & set(decision.rule.destinations)
    assert {meant.peer for meant in decision.plan} == asked, "each of its Peers, and no other"
    keys = [(meant.peer, meant.output) for meant in decision.plan]
    assert len(set(keys)) == len(keys), "nothing twice"
    for peer in asked:
        receiver = known[peer]
        wanted = (decision.rule.outputs if decision.rule else ()) or receiver.outputs
        plan = {meant.output: meant for meant in decision.plan if meant.peer == peer}
        assert {meant.language for meant in plan.values()} == {receiver.language}
        for output in wanted:
            stand_in = accepted(output, receiver.refused)
            assert (stand_in or output) in plan, "what was wanted, or what stands in for it"
        for output, meant in plan.items():
            if output in receiver.refused:
                assert accepted(output, receiver.refused) is None, "asked again: the chain is spent"
                assert output in wanted
            assert (meant.instead_of is None) == (output in wanted)
            assert meant.instead_of is None or output in chain(meant.instead_of)
    assert set(decision.pairs) == {(meant.output, meant.language) for meant in decision.plan}
    assert len(set(decision.pairs)) == len(decision.pairs)


def test_every_chain_ends_and_every_output_but_the_picture_has_a_next() -> None:
    assert set(FALLBACK) == set(Output) - {Output.RESULT_PAGE}
    assert all(chain(output)[-1] == Output.RESULT_PAGE for output in Output)


def test_without_rules_each_destination_gets_its_own_outputs_in_its_language() -> None:
    assert route(AF, (), (PACS, WARD)) == Decision(
        None,
        (
            Meant(1, Output.BASIC_TEXT, Language.ENGLISH),
            Meant(1, Output.COMPREHENSIVE, Language.ENGLISH),
            Meant(2, Output.PDF, Language.CHINESE),
        ),
    )


def test_the_first_rule_that_fits_decides_alone() -> None:
    normal = RoutingRule("normal", finding="normal", destinations=(1,))
    af = RoutingRule("AF", finding="af", destinations=(2,), outputs=(Output.RESULT_PAGE,))
    everything = RoutingRule("rest", destinations=(1,))
    decision = route(AF, (normal, af, everything), (PACS, WARD))
    assert decision.rule == af
    assert decision.plan == (Meant(2, Output.RESULT_PAGE, Language.CHINESE),)


def test_a_rule_without_destinations_sends_nowhere_and_one_whose_peers_are_off_waits() -> None:
    kept = route(AF, (RoutingRule("keep"),), (PACS,))
    assert kept.is_nowhere
    assert not kept.plan
    waits = route(AF, (RoutingRule("old", destinations=(9,)),), (PACS,))
    assert not waits.is_nowhere
    assert not waits.plan


def test_what_is_refused_is_replaced_and_not_sent_twice() -> None:
    refusing = replace(PACS, refused=frozenset({Output.COMPREHENSIVE}))
    assert route(AF, (), (refusing,)).plan == (
        Meant(1, Output.BASIC_TEXT, Language.ENGLISH),
        Meant(1, Output.ENHANCED, Language.ENGLISH, instead_of=Output.COMPREHENSIVE),
    )
    poor = replace(PACS, refused=frozenset({Output.COMPREHENSIVE, Output.ENHANCED}))
    assert route(AF, (), (poor,)).plan == (Meant(1, Output.BASIC_TEXT, Language.ENGLISH),)


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        (RoutingRule("everything"), True),
        (RoutingRule("", sender="CART"), True),
        (RoutingRule("", sender="MUSE"), False),
        (RoutingRule("", station_name="ecg-3"), True),
        (RoutingRule("", modality="OT"), False),
        (RoutingRule("", description="ruhe-ekg 12"), True),
        (RoutingRule("", description="NOTAUF"), True),
        (RoutingRule("", description="Holter"), False),
        (RoutingRule("", finding="af"), True),
        (RoutingRule("", finding="pac"), False),
        (RoutingRule("", finding="pac", min_probability=0.4), True),
        (RoutingRule("", finding="af", min_probability=0.95), False),
        (RoutingRule("", finding="pvc", min_probability=0.0), False),
        (RoutingRule("", sender="CART", finding="pac"), False),
    ],
)
def test_conditions(rule: RoutingRule, does: bool) -> None:
    assert fits(rule, AF) == does
    assert len(checks(rule, AF)) == len(describe(rule))


def test_conditions_are_said_in_words() -> None:
    rule = RoutingRule("", sender="CART", finding="af", min_probability=0.9, description="stress")
    assert describe(rule) == (
        "sender is CART",
        "description contains “stress”",
        "Atrial fibrillation at least 90.0% probable",
    )
    found = {check.condition: (check.found, check.is_met) for check in checks(rule, AF)}
    assert found["description contains “stress”"] == ("Ruhe-EKG  12 Kanal / Notaufnahme", False)
    assert found["Atrial fibrillation at least 90.0% probable"] == ("93.0%, present", True)


# --- from the tables ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_rules_are_asked_by_position_and_only_active_ones() -> None:
    peer = Peer.objects.create(title="PACS", host="10.0.0.9", is_destination=True)
    for position, name, is_active in ((3, "last", True), (1, "off", False), (2, "first", True)):
        rule = Rule.objects.create(position=position, name=name, is_active=is_active)
        rule.destinations.add(peer)
    assert [rule.name for rule in Routing().rules] == ["first", "last"]
    assert Routing().rules[0].destinations == (peer.pk,)


@pytest.mark.django_db
def test_a_refusal_counts_at_the_address_where_it_was_seen() -> None:
    peer = Peer.objects.create(title="PACS", host="10.0.0.9", is_destination=True)
    RefusedOutput.objects.create(
        peer=peer, output=Output.COMPREHENSIVE, address=str(peer), sop_class_uid="1.2"
    )
    (seen,) = Routing().destinations
    assert seen.refused == {Output.COMPREHENSIVE}
    peer.host = "10.0.0.10"
    peer.save()
    (moved,) = Routing().destinations
    assert moved.refused == set()


@pytest.mark.django_db
def test_facts_come_from_rows_and_header(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path
    ds = picture(series_description="Emergency", study_description="Rest ECG", modality="OT")
    ds.StationName = "BED-7"
    part = spool.incoming() / "x.part"
    ds.save_as(part, enforce_file_format=True)
    version = ModelVersion.objects.create(name="n", version="1", sha256="0")
    study = Study.objects.create(study_instance_uid="1.2", description="Rest ECG")
    row = make_instance(
        spool_name=spool.adopt(part), calling_title="CART", study=study, model_version=version
    )
    Finding.objects.create(
        instance=row, model_version=version, key="af", probability=0.7, threshold=0.5,
        verdict="present",
    )  # fmt: skip
    assert facts_of(row) == Facts(
        sender="CART",
        station_name="BED-7",
        modality="OT",
        descriptions=("Rest ECG", "Emergency"),
        findings={"af": Seen(0.7, is_present=True)},
    )


@pytest.mark.django_db
def test_a_header_that_cannot_be_read_now_is_no_reason_to_pass_a_rule_over() -> None:
    Rule.objects.create(name="emergencies", description="Emergency")
    with pytest.raises(OSError, match="spool"):
        Routing().decide(make_instance())


@pytest.mark.django_db
def test_a_peer_that_a_rule_names_cannot_be_deleted_unnoticed() -> None:
    peer = Peer.objects.create(title="PACS", host="10.0.0.9", is_destination=True)
    Rule.objects.create(name="AF").destinations.add(peer)
    with pytest.raises(Exception, match="named by a routing rule"):
        peer.delete()
