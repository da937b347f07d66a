"""Freeze, retrain, evaluate, read along, promote, serve, roll back: on simulated ECGs, for real."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_people import make_user
from desk_rows import make_ecg
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.core.management import call_command
from peers import Program, Valkey, eventually
from pydicom import dcmread
from pytest_django import Settings
from same_database import database_url
from training_rows import frozen_set, kept, like_the_one_that_ships, page

from gateway import network, pipeline, serving, shadow, spool
from gateway.models import Alert, AlertRule, Instance, ModelVersion, Promotion, Report
from gateway.routing import findings_of
from gateway.states import State
from models.artifact import Artifact
from models.labels import KEYS
from webadmin import evaluating, retraining, trainer
from webadmin.models import Deed, Evaluation, Label, SplitOpening, TrainingRun

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SPLITS = {
    "training": {"normal": 8, "clbbb": 8},
    "validation": {"normal": 4, "clbbb": 4},
    "test": {"normal": 11, "clbbb": 11},
}
QUICK = retraining.Recipe(epochs=4, steps=3, batch=8, learning_rate=1e-3, average=0.5)


@pytest.fixture(autouse=True)
def _own_networks(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_MODELS_DIR = tmp_path / "models"
    settings.ECG_LEASE_S = 2.0
    settings.ECG_BACKOFF_S = 0.0
    yield
    network.predictor.cache_clear()
    network.model_version.cache_clear()


@pytest.fixture
def chief() -> User:
    return make_user("chief", is_superuser=True)


@pytest.fixture
def turned_over(settings: Settings, tmp_path: Path) -> Artifact:
    """Have a network serve that calls a left bundle branch block what is none."""
    folder = tmp_path / "ecg-test-1.0.0"
    made = like_the_one_that_ships(folder, version="1.0.0", turned=("clbbb",))
    settings.ECG_MODEL_DIR = str(folder)
    network.predictor.cache_clear()
    network.model_version.cache_clear()
    return made


def killed_trainer(run: TrainingRun, folder: Path, broker: str) -> None:
    """Have a Trainer take a run up that nobody rang for, and kill it after the first epoch."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "DATABASE_URL": database_url(),
        "ECG_DATA_DIR": str(configured.ECG_DATA_DIR),
        "ECG_SPOOL_DIR": str(configured.ECG_SPOOL_DIR),
        "ECG_MODELS_DIR": str(configured.ECG_MODELS_DIR),
        "ECG_MODEL_DIR": str(configured.ECG_MODEL_DIR),
        "ECG_LEASE_S": "2",
        "ECG_SWEEP_S": "0.5",
        "BROKER_URL": broker,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "celery", "-q", "-A", "gateway", "worker", "-B"]
    command += ["-Q", "training", "--concurrency=1", "-s", str(folder / "beat")]
    worker = Program(command, folder=folder, name="trainer", environment=environment)

    def has_an_epoch() -> bool:
        run.refresh_from_db()
        return bool(run.curve)

    worker.start(ready=has_an_epoch, timeout_s=200)
    worker.kill()


def read(key: str) -> Instance:
    """Have an ECG analysed and reported, as an Analyst does it."""
    ecg = make_ecg(page(key, 1))
    assert pipeline.analyse_waiting() == 1
    ecg.refresh_from_db()
    assert ecg.state == State.ANALYSED, ecg.reason or ecg.last_error
    return ecg


@pytest.mark.timeout(600)
def test_a_network_learns_reads_along_serves_and_is_rolled_back(
    chief: User, turned_over: Artifact, tmp_path: Path, valkey: Valkey
) -> None:
    training_set = frozen_set(chief, SPLITS)
    run = retraining.start(training_set, chief, QUICK)
    champion = serving.champion()
    assert (run.start, str(champion)) == (champion, "ecg-test@1.0.0")

    # A Trainer that dies is followed by one that goes on where it was.
    killed_trainer(run, tmp_path, valkey.url)
    before = run.curve
    assert (run.state, retraining.claim()) == ("training", None), "the lease of the dead holds"
    assert eventually(retraining.work, timeout_s=60, what="the lease to run out") == 1
    run.refresh_from_db()
    assert (run.state, run.reason) == ("evaluated", "")
    assert [one["epoch"] for one in run.curve] == [1, 2, 3, 4]
    assert run.curve[: len(before)] == before
    assert run.curve[-1]["training_loss"] < run.curve[0]["training_loss"]
    assert not retraining.work_folder(run).exists(), "pages of patients do not stay"

    # The candidate says what it is and what it was trained on.
    candidate = run.candidate
    assert candidate is not None
    assert str(candidate) == "ecg-test@1.0.0+1"
    artifact = serving.verified(candidate)
    assert artifact.card.sha256 != turned_over.card.sha256
    assert artifact.card.training["training_set_sha256"] == training_set.sha256
    assert artifact.card.training["ecgs"] == {"training": 16, "validation": 8}
    assert training_set.sha256 in (artifact.folder / "MODEL_CARD.md").read_text()
    assert artifact.familiarity() is not None
    assert candidate.card == artifact.card.as_dict()

    # It was evaluated beside the champion on the locked split, which was opened once for that.
    evaluation = Evaluation.objects.get()
    assert (evaluation.candidate, evaluation.champion) == (candidate, champion)
    assert evaluation.is_better, evaluation.reasons
    found = evaluation.results["findings"]["clbbb"]
    assert (found["positives"], found["negatives"], found["is_judged"]) == (11, 11, True)
    assert found["champion"]["auroc"] < 0.5 < found["candidate"]["auroc"]
    # What the test split cannot judge was not learned, and so cannot have been forgotten.
    findings = evaluation.results["findings"]
    unjudged = [one["largest_change"] for one in findings.values() if not one["is_judged"]]
    assert unjudged
    assert max(unjudged) < 0.01
    assert found["difference_interval"][0] > 0
    assert not evaluation.results["findings"]["af"]["is_judged"]
    assert SplitOpening.objects.get().run == run

    # In shadow it reads along; what it says is kept and goes nowhere.
    AlertRule.objects.create(name="LBBB", finding="clbbb", channel="mail", target="a@b.example")
    shadow.start(candidate)
    ecg = read("clbbb")
    as_said = findings_of(ecg)
    assert shadow.read_along() == 1
    assert shadow.read_along() == 0
    assert ecg.findings.filter(model_version=candidate).count() == len(KEYS)
    assert ecg.findings.get(model_version=candidate, key="clbbb").verdict == "present"
    assert findings_of(ecg) == as_said
    assert not as_said["clbbb"].is_present
    assert not Alert.objects.exists()
    pipeline.compose_waiting()
    for report in Report.objects.filter(instance=ecg):
        said = dcmread(spool.locate(report.spool_name)).to_json()
        assert champion.sha256 in said
        assert candidate.sha256 not in said

    # Promoted, it serves from the next batch on, in the process that served before.
    call_command("promote", str(candidate), reason="better at LBBB")
    assert read("clbbb").model_version == candidate
    assert findings_of(read("clbbb"))["clbbb"].is_present
    candidate.refresh_from_db()
    assert candidate.shadow_since is None

    # One step back, and no step forward that nobody judged.
    call_command("rollback", reason="too many calls")
    assert read("clbbb").model_version == champion
    with pytest.raises(serving.NotPromoted, match="expected a promotion to take back"):
        serving.roll_back(actor="test", reason="again")
    rows = Promotion.objects.order_by("pk").values_list("kind", "model_version", "reason")
    assert list(rows) == [
        ("promoted", candidate.pk, "better at LBBB"),
        ("rolled_back", champion.pk, "too many calls"),
    ]
    done = set(Deed.objects.values_list("action", flat=True))
    assert {"retrain", "evaluate", "promote", "roll_back"} <= done


def test_a_worse_candidate_cannot_be_promoted_by_anybody(
    chief: User, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "ecg-test-1.0.0"
    like_the_one_that_ships(folder, version="1.0.0")
    settings.ECG_MODEL_DIR = str(folder)
    network.predictor.cache_clear()
    network.model_version.cache_clear()
    worse = like_the_one_that_ships(
        tmp_path / "models" / "ecg-test-1.0.0+1", version="1.0.0+1", turned=("clbbb",)
    )
    candidate = serving.row_of(worse)
    ModelVersion.objects.filter(pk=candidate.pk).update(folder=worse.folder.name)
    candidate.refresh_from_db()
    with pytest.raises(serving.NotPromoted, match="was not evaluated beside"):
        evaluating.promote(candidate, actor="test", reason="hope")

    training_set = frozen_set(chief, {"test": SPLITS["test"]})
    evaluation = evaluating.evaluate(candidate, training_set, actor="test")
    assert not evaluation.is_better
    assert evaluation.reasons[0].startswith("Complete left bundle branch block is worse")
    with pytest.raises(serving.NotPromoted, match=r"is not better than ecg-test@1\.0\.0"):
        evaluating.promote(candidate, actor="test", reason="hope")
    with pytest.raises(serving.NotPromoted, match="is not better"):
        serving.promote(candidate, actor="test", reason="hope", evaluation=evaluation)
    forged = Evaluation(candidate=candidate, champion=serving.champion(), is_better=True)
    with pytest.raises(serving.NotPromoted, match="expected the latest evaluation"):
        serving.promote(candidate, actor="test", reason="hope", evaluation=forged)
    assert not Promotion.objects.exists()
    assert serving.champion() == evaluation.champion


def test_a_run_ends_when_a_person_asks_for_it(chief: User, turned_over: Artifact) -> None:
    training_set = frozen_set(chief, {"training": {"normal": 1}, "validation": {"normal": 1}})
    waiting = retraining.start(training_set, chief, QUICK)
    with pytest.raises(retraining.NotStarted, match="is under way"):
        retraining.start(training_set, chief, QUICK)
    assert retraining.cancel(waiting, actor="chief")
    assert (waiting.state, retraining.claim()) == ("cancelled", None)
    assert not retraining.cancel(waiting, actor="chief"), "there is nothing left to end"

    retraining.start(training_set, chief, QUICK)
    run = retraining.claim()
    assert run is not None
    assert retraining.cancel(run, actor="chief")
    assert run.state == "waiting", "somebody is at it, who ends it"
    trainer.take(run)
    run.refresh_from_db()
    assert (run.state, run.candidate, run.lease_token) == ("cancelled", None, None)
    assert not retraining.work_folder(run).exists()


def test_a_run_that_nothing_can_be_learned_from_fails_and_says_so(
    chief: User, turned_over: Artifact
) -> None:
    one_sided = frozen_set(chief, {"training": {"normal": 1}})
    with pytest.raises(retraining.NotStarted, match="split validation"):
        retraining.start(one_sided, chief, QUICK)

    training_set = frozen_set(
        chief, {"training": {"normal": 1}, "validation": {"normal": 1}}, name="no bytes"
    )
    retraining.start(training_set, chief, QUICK)
    for item in training_set.items.select_related("instance"):
        (configured.ECG_SPOOL_DIR / item.instance.spool_name).unlink()
    assert retraining.work() == 1
    run = TrainingRun.objects.get()
    assert run.state == "failed"
    assert run.reason == "expected ECGs of the split training that can be read; found none"
    assert not retraining.work_folder(run).exists()


def test_who_has_a_candidate_evaluated_again_is_the_one_who_opened_the_test_split(
    chief: User, settings: Settings, tmp_path: Path
) -> None:
    settings.ECG_MODELS_DIR = tmp_path / "models"
    network.model_version.cache_clear()
    other = make_user("the-other-one", is_superuser=True)
    splits = {"training": {"normal": 1}, "validation": {"normal": 1}, "test": {"normal": 2}}
    training_set = frozen_set(chief, splits)
    run = retraining.start(training_set, chief, rings=False)
    assert not retraining.evaluate_again(run, other), "nothing was trained yet"
    taken = retraining.claim()
    assert taken is not None
    retraining.end(taken, "evaluated")
    TrainingRun.objects.filter(pk=run.pk).update(candidate=kept(tmp_path / "models", "1.0.0+1"))
    assert retraining.evaluate_again(run, other)
    taken = retraining.claim()
    assert taken is not None
    trainer.evaluate_candidate(taken)
    assert SplitOpening.objects.get().actor == "the-other-one"
    assert (
        list(Deed.objects.filter(action="evaluate").values_list("actor", flat=True))
        == ["the-other-one"] * 2
    )


def test_what_one_reader_alone_has_said_judges_no_network_in_older_sets_either(
    chief: User, settings: Settings, tmp_path: Path
) -> None:
    settings.ECG_MODELS_DIR = tmp_path / "models"
    network.model_version.cache_clear()
    training_set = frozen_set(chief, {"test": {"normal": 2}})
    candidate = kept(tmp_path / "models", "1.0.0+1")
    assert evaluating.evaluate(candidate, training_set, actor="test").results["ecgs"] == 2
    for item in training_set.items.all()[:1]:
        Label.objects.filter(pk=item.label_id).update(source=Label.Source.SINGLE)
    assert evaluating.evaluate(candidate, training_set, actor="test").results["ecgs"] == 1
    Label.objects.update(source=Label.Source.SINGLE)
    with pytest.raises(evaluating.NotEvaluated, match="expected ECGs of the test split"):
        evaluating.evaluate(candidate, training_set, actor="test")
