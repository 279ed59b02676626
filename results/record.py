"""The record: what a cell became, and what reproduces it. Always valid JSON: NaN is null with a reason."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

SCHEMA_VERSION = 4
"""What is written. Releases that read less would take what is new for damage.

2: the identity holds the preprocessing. 3: a training may have diverged, at a step.
4: the provenance says by which code, where and in which job.
"""
READ_VERSIONS = (1, 2, 3, 4)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRow(_Frozen):
    """One number with its 95 % interval; ``n`` counts the items it is a mean over. ``reason`` says why it is null."""

    metric: str
    split: str
    value: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    higher_is_better: bool = True
    unit: str = "fraction"

    @model_validator(mode="before")
    @classmethod
    def _null_with_reason(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        row = {**given}
        for name in ("value", "low", "high"):
            number = row.get(name)
            # numpy's float32 is no float of Python's
            if number is not None and not isinstance(number, str) and not math.isfinite(number):
                row[name] = None
                row["reason"] = row.get("reason") or f"{name} is {number}"
        return row


class Cell(_Frozen):
    """The question in words. ``settings`` holds those that differ from the task's defaults."""

    backbone: str
    task: str
    datasets: dict[str, list[str]]
    settings: dict[str, Any] = {}
    seed: int = 0

    def address(self) -> str:
        """A hash of all of it: two records of one address are two answers to the same question."""
        return hashlib.sha256(_canonical(self.model_dump()).encode()).hexdigest()[:32]

    def words(self) -> str:
        """Backbone, setting and seed, for people."""
        return f"{self.backbone}, {self.setting()}, seed {self.seed}"

    def roles(self) -> list[str]:
        """The roles in the order of a question: train first, test last, query before gallery."""
        return sorted(self.datasets, key=lambda role: (role != "test", role == "train", role), reverse=True)

    def setting(self) -> str:
        """The column it belongs to: task, data and settings, without backbone and seed.

        >>> Cell(backbone="b", task="retrieval", datasets={"dataset": ["digits"]}, settings={"k": 5}).setting()
        'retrieval digits k=5'
        >>> Cell(backbone="b", task="detection.shift", datasets={"dataset": ["sim"], "test": ["x", "y"]}).setting()
        'detection.shift sim > x, y'

        A setting of many words (a list, a mapping) is cut short, and told apart by a hash of it.
        """
        data = " > ".join(", ".join(self.datasets[role]) for role in self.roles())
        return " ".join(
            [self.task, data, *(f"{name}={_brief(value)}" for name, value in sorted(self.settings.items()))]
        )


class Identity(_Frozen):
    """What makes an old answer stale when it changes. Records of schema 1 do not hold ``preprocess``."""

    weights_sha256: str
    manifests: dict[str, str]
    protocol_version: int
    precision: str
    preprocess: dict[str, Any] | None = None

    def changes_from(self, old: "Identity") -> list[str]:
        """What is different, a phrase each; empty when nothing is, as far as both hold it."""
        changes = []
        if self.weights_sha256 != old.weights_sha256:
            changes.append(f"weights or their code changed ({old.weights_sha256[:8]} -> {self.weights_sha256[:8]})")
        for name in sorted(set(self.manifests) | set(old.manifests)):
            before, now = (each.manifests.get(name, "none") for each in (old, self))
            if before != now:
                # Records know a set by its name and contents, not where it lay: the two cannot be told apart.
                seen = f"{before[:8]} -> {now[:8]}"
                changes.append(f"dataset {name} has other contents ({seen}): it changed, or is another of that name")
        if self.preprocess is not None and old.preprocess is not None:
            changes += differences("preprocessing", old.preprocess, self.preprocess)
        if self.protocol_version != old.protocol_version:
            changes.append(f"protocol version {old.protocol_version} -> {self.protocol_version}")
        if self.precision != old.precision:
            changes.append(f"precision {old.precision} -> {self.precision}")
        return changes


class BackboneFacts(_Frozen):
    """The card's facts; ``baseline`` marks floors (random weights, pixel statistics)."""

    family: str
    baseline: bool
    architecture: str
    parameters: int
    pretraining_method: str
    pretraining_data: str
    licence: str
    source: str
    revision: str


class Cost(_Frozen):
    """Measured, so never the same twice. ``flops`` counts one image through the backbone."""

    seconds: float
    images_per_second: float | None = None
    peak_memory_mb: float | None = None
    flops: int | None = None

    @field_validator("images_per_second", "peak_memory_mb")
    @classmethod
    def _unmeasured_is_null(cls, value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None


class Provenance(_Frozen):
    """What reproduces it. ``created`` is UTC, ISO 8601; ``code`` is a digest of BoB's own files, copied or checked out.

    ``job`` is a scheduler's; records of schema 3 and before hold neither code, node nor job.
    """

    created: str
    bob_version: str
    commit: str
    python: str
    packages: dict[str, str]
    hardware: dict[str, str]
    command: str
    code: str = ""
    node: str = ""
    job: str = ""


class Failure(_Frozen):
    """Why there is no number. ``step`` is that of a training which diverged."""

    kind: str
    message: str
    traceback: str
    step: int | None = None


class FileFacts(_Frozen):
    """What identifies a file beside the record."""

    sha256: str
    size: int


class Record(_Frozen):
    """One cell's outcome. In JSON it carries ``digest``, the hash of the rest, which is checked when it is read."""

    key: str
    status: Literal["done", "failed", "diverged"]
    cell: Cell
    identity: Identity
    backbone: BackboneFacts
    headline: str
    provenance: Provenance
    scores: list[ScoreRow] = []
    notes: dict[str, Any] = {}
    warnings: list[str] = []
    cost: Cost | None = None
    error: Failure | None = None
    files: dict[str, FileFacts] = {}
    schema_version: Literal[4] = 4

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileFacts]) -> dict[str, FileFacts]:
        if outside := [
            name for name in files if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
        ]:
            raise ValueError(f"files beside a record are named inside its folder, not {outside[0]!r:.80}")
        return files

    @field_validator("notes", mode="before")
    @classmethod
    def _plain_notes(cls, notes: Any) -> Any:
        return plain(notes)

    def headline_row(self) -> ScoreRow | None:
        """The score that boards show, if there is one."""
        return next((row for row in self.scores if row.metric == self.headline), None)

    def to_json(self) -> str:
        """The record as it is stored."""
        body = self.model_dump()
        # One line: with an indent the standard library writes in pure Python, which alone halves the commits a second.
        text = _canonical(body)
        return f'{text[:-1]}, "digest": "{hashlib.sha256(text.encode()).hexdigest()}"}}'

    @model_validator(mode="after")
    def _status_agrees(self) -> Self:
        if (self.status == "done") != (self.error is None):
            raise ValueError(f"a record that is {self.status} {'needs an' if self.error is None else 'has no'} error")
        if (self.status == "diverged") != (self.error is not None and self.error.step is not None):
            raise ValueError("a record has diverged where its error names the step, and nowhere else")
        return self

    def failure(self) -> str:
        """In a phrase, what became of an attempt without a number; empty for one that is done."""
        if self.error is None:
            return ""
        return f"failed: {self.error.kind}" if self.error.step is None else f"diverged at step {self.error.step}"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Record":
        """Read it back.

        Raises ``DamageError`` when it is torn, edited or no record, ``SchemaError`` when of another release.
        """
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ValueError("no JSON object")
            digest, seen = body.pop("digest", None), _digest(body)
        except (ValueError, RecursionError) as error:  # of a number that JSON has not, of a thousand brackets
            raise DamageError(f"not whole: {error}") from None
        if digest != seen:
            raise DamageError("digest does not match: the record was changed after it was written")
        if (version := body.get("schema_version")) not in READ_VERSIONS:
            raise SchemaError(
                f"written with record schema {version}, this release reads {' and '.join(map(str, READ_VERSIONS))}: "
                "use the release that wrote it, or another --store"
            )
        try:
            return cls.model_validate({**body, "schema_version": SCHEMA_VERSION})
        except ValidationError as error:
            raise DamageError(f"{error.error_count()} fields are not what a record has") from None


class DamageError(ValueError):
    """A record or its files are torn, altered or missing."""


class SchemaError(ValueError):
    """A whole record in a form that this release does not read: it is left where it is."""


def _brief(value: Any, longest: int = 40) -> str:
    """
    >>> _brief(5), _brief(("a", "b")), _brief("a" * 40) == "a" * 40, _brief("a" * 50) == _brief("a" * 60)
    ('5', "['a', 'b']", True, False)
    """
    text = str(plain(value))
    if len(text) <= longest:
        return text
    return f"{text[: longest - 3]}...#{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A phrase for each value that differs, as JSON would hold it.

    >>> differences("preprocessing", {"size": [224, 224], "crop": "center"}, {"size": (256, 256), "crop": "center"})
    ['preprocessing size [224, 224] -> [256, 256]']
    """
    old, new = plain(old), plain(new)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{what} {name} {old.get(name, 'unset')} -> {new.get(name, 'unset')}" for name in names]


def plain(value: Any) -> Any:
    """Only JSON's own kinds: arrays become lists, non-finite numbers null, anything else its text.

    >>> plain({"best": float("nan"), 1: (2, 3)})
    {'best': None, '1': [2, 3]}
    """
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _canonical(body: Any) -> str:
    return json.dumps(body, sort_keys=True, ensure_ascii=True, allow_nan=False)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body).encode()).hexdigest()
