"""A network on disk: weights, card, and the hash that says they are the ones that were judged.

A folder ``<name>-<version>`` holds

``weights.weights.h5``
    Keras weights of the architecture in the card.
``card.json``
    Everything a machine needs to serve it and a person to judge it, see `ModelCard`.
``MODEL_CARD.md``
    The same for people.
``serving.tflite``
    The same network converted for serving, see `models.forward`. Networks without it are converted
    when they are loaded.
``familiarity.npz``
    How far a page is from those the network learned from, see `models.familiarity`. Without it
    every page counts as familiar.
``SHA256SUMS``
    The hashes of the other files, in the format of sha256sum(1).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from models.architecture import Architecture
from models.calibrate import Calibration
from models.familiarity import Familiarity
from models.forward import Forward, convert
from models.labels import KEYS, PAGE_KINDS

STORE: Final = Path(__file__).resolve().parent / "store"
WEIGHTS: Final = "weights.weights.h5"
CARD: Final = "card.json"
PAGE: Final = "MODEL_CARD.md"
SERVING: Final = "serving.tflite"
FAMILIARITY: Final = "familiarity.npz"
SUMS: Final = "SHA256SUMS"


class ArtifactError(ValueError):
    """An artifact is missing, incomplete, or not what its hashes say."""


@dataclass(frozen=True)
class ModelCard:
    """What is known about a network.

    Attributes
    ----------
    name, version : str
        Together its name in every report.
    sha256 : str
        Of the weights file.
    architecture : Architecture
        What to build before loading the weights.
    calibration : Calibration
        From logits to probabilities, and the operating thresholds.
    validated : dict of key to bool
        Whether enough real positives stood in the test set to claim anything.
    metrics : dict
        The evaluation, as `models.evaluate` wrote it.
    training : dict
        The recipe, the sources and their licences.
    page_kind_thresholds : dict of key to float
        Probability, 0..1, from which a page is one of `models.labels.PAGE_KINDS` and is not read;
        a kind left out is never refused.
    """

    name: str
    version: str
    sha256: str
    architecture: Architecture
    calibration: Calibration
    validated: dict[str, bool]
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    page_kind_thresholds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ModelCard":
        """Make a card of JSON values.

        Raises
        ------
        ArtifactError
            If a field is missing or a finding is not covered.
        """
        try:
            card = cls(
                **{
                    **values,
                    "architecture": Architecture(**values["architecture"]),
                    "calibration": Calibration(**values["calibration"]),
                }
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise ArtifactError(f"card.json is not a model card: {fault}") from fault
        if set(card.validated) != set(KEYS):
            raise ArtifactError(
                f"card.json: expected the findings {', '.join(KEYS)}; "
                f"received {', '.join(card.validated)}"
            )
        card._check_page_kinds()
        return card

    def _check_page_kinds(self) -> None:
        kinds = self.page_kind_thresholds
        if not set(kinds) <= set(PAGE_KINDS):
            raise ArtifactError(
                f"card.json: expected page kinds among {', '.join(PAGE_KINDS)}; "
                f"received {', '.join(kinds)}"
            )
        if kinds and self.architecture.extra < len(PAGE_KINDS):
            raise ArtifactError(
                f"card.json: thresholds of page kinds need {len(PAGE_KINDS)} extra logits; "
                f"the network has {self.architecture.extra}"
            )
        if not all(0.0 < value < 1.0 for value in kinds.values()):
            raise ArtifactError("card.json: expected thresholds of page kinds between 0 and 1")


@dataclass(frozen=True)
class Artifact:
    """A folder with a network, its card read."""

    folder: Path
    card: ModelCard

    @classmethod
    def load(cls, folder: Path) -> "Artifact":
        """Read the card of an artifact; the weights stay on disk.

        Raises
        ------
        ArtifactError
            If the folder is no artifact.
        """
        path = folder / CARD
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise ArtifactError(f"expected a network in {folder.name}, found no {CARD}") from None
        except ValueError as fault:
            raise ArtifactError(f"{CARD} is no JSON: {fault}") from fault
        return cls(folder, ModelCard.of(values))

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.folder / WEIGHTS

    @property
    def outputs(self) -> int:
        """Logits of the network: the ten findings and what follows them."""
        return len(KEYS) + self.card.architecture.extra

    def network(self) -> Any:
        """Build the Keras network and load its weights; loads TensorFlow."""
        # A machine without a GPU is no news worth a screen of warnings.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from models.resnet import build

        network = build(self.card.architecture)
        network.load_weights(str(self.weights))
        return network

    def forward(self, *, threads: int | None = None) -> Forward:
        """Load the forward pass that serves; without TensorFlow when it was converted before."""
        path = self.folder / SERVING
        code = path.read_bytes() if path.is_file() else convert(self.network())
        return Forward(code, outputs=self.outputs, threads=threads)

    def familiarity(self) -> Familiarity | None:
        """Load what tells a familiar page; None when the artifact holds nothing of the kind."""
        path = self.folder / FAMILIARITY
        return Familiarity.load(path) if path.is_file() else None

    def verify(self) -> "Artifact":
        """Compare every file with its hash, and the weights with the card; return self.

        Raises
        ------
        ArtifactError
            Naming the file, the expected and the found hash.
        """
        expected = {}
        try:
            for line in (self.folder / SUMS).read_text().splitlines():
                digest, name = line.split()
                expected[name.lstrip("*")] = digest
        except (OSError, ValueError) as fault:
            raise ArtifactError(f"{SUMS} cannot be read: {fault}") from fault
        expected[WEIGHTS] = self.card.sha256
        for name in (CARD, SERVING, FAMILIARITY):
            if name not in expected and (self.folder / name).exists():
                raise ArtifactError(f"{name} stands in no line of {SUMS}")
        for name, digest in expected.items():
            found = file_sha256(self.folder / name)
            if found != digest:
                raise ArtifactError(f"{name}: expected SHA-256 {digest}, found {found}")
        return self


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; of a missing file ``"no file"``."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "no file"


def default_artifact() -> Path:
    """Return the folder of the network that ships.

    Raises
    ------
    ArtifactError
        If the store does not hold exactly one network; name the one to use then.
    """
    found = sorted(path.parent for path in STORE.glob(f"*/{CARD}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ArtifactError(f"expected one network in models/store, found {names}")
    return found[0]


def save(
    folder: Path,
    network: Any,
    card: ModelCard,
    *,
    page: str,
    familiarity: Familiarity | None = None,
    serving: bytes | None = None,
) -> Artifact:
    """Write an artifact and verify it.

    Parameters
    ----------
    folder : Path
        Made if absent.
    network : keras.Model
        Its weights are saved, and the network converted for serving.
    card : ModelCard
        Its ``sha256`` is filled in here.
    page : str
        The model card for people, Markdown.
    familiarity : Familiarity, optional
        Fitted on the pages the network learned from.
    serving : bytes, optional
        The network converted, where that was done before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.save_weights(str(folder / WEIGHTS))
    sha256 = file_sha256(folder / WEIGHTS)
    values = {**card.as_dict(), "sha256": sha256}
    (folder / CARD).write_text(json.dumps(values, indent=2) + "\n")
    (folder / PAGE).write_text(page)
    (folder / SERVING).write_bytes(convert(network) if serving is None else serving)
    names = [WEIGHTS, CARD, PAGE, SERVING]
    # What an earlier network left here must not serve this one.
    (folder / FAMILIARITY).unlink(missing_ok=True)
    if familiarity is not None:
        familiarity.save(folder / FAMILIARITY)
        names.append(FAMILIARITY)
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums)
    return Artifact.load(folder).verify()


def judged(artifact: Artifact, card: ModelCard, *, page: str) -> Artifact:
    """Give an artifact the card that says how it was judged; the network stays as it is.

    Raises
    ------
    ArtifactError
        The artifact is not what its hashes say, or the card is of other weights.
    """
    artifact.verify()
    if (card.name, card.version, card.sha256) != (
        artifact.card.name,
        artifact.card.version,
        artifact.card.sha256,
    ):
        raise ArtifactError("expected the card of the same network")
    folder = artifact.folder
    names = [line.split()[1].lstrip("*") for line in (folder / SUMS).read_text().splitlines()]
    (folder / CARD).write_text(json.dumps(card.as_dict(), indent=2) + "\n")
    (folder / PAGE).write_text(page)
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums)
    return Artifact.load(folder).verify()
