"""Certificates: small files in the store that say which checks a backbone, as it was loaded, has passed."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from results.record import plain

FOLDER = "certificates"


class CheckRow(BaseModel):
    """A check and what was seen; ``passed`` is null where it does not apply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool | None
    seen: str


class Certificate(BaseModel):
    """Of one backbone: these weights with this preprocessing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    weights_sha256: str
    preprocess: dict[str, Any]
    created: str
    packages: dict[str, str]
    checks: list[CheckRow]
    schema_version: Literal[1] = 1

    @property
    def holds(self) -> bool:
        """Whether no check failed, and any was passed at all."""
        verdicts = [check.passed for check in self.checks]
        return False not in verdicts and True in verdicts

    @property
    def subject(self) -> str:
        """What it is of, as :func:`subject` says it."""
        return subject(self.weights_sha256, self.preprocess)


def subject(weights_sha256: str, preprocess: Mapping[str, Any] | None) -> str:
    """A hash of what is certified. The same weights with other preprocessing are another backbone."""
    return hashlib.sha256(json.dumps([weights_sha256, plain(preprocess)], sort_keys=True).encode()).hexdigest()


def issue(
    backbone: str,
    weights_sha256: str,
    preprocess: Mapping[str, Any],
    packages: dict[str, str],
    checks: list[CheckRow],
) -> Certificate:
    """A certificate of now."""
    return Certificate(
        backbone=backbone,
        weights_sha256=weights_sha256,
        preprocess=plain(preprocess),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        packages=packages,
        checks=checks,
    )


def keep(certificate: Certificate, store: Path) -> Path:
    """Write it into the store's folder of certificates, whole or not at all; an older one of the same gives way."""
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{certificate.subject}.json"
    fresh = folder / f".{certificate.subject}.{os.getpid()}"
    fresh.write_text(certificate.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, target)
    return target


def certified(store: Path) -> frozenset[str]:
    """Subjects that hold a certificate in this store; files that are none count for nothing."""
    found = set()
    for path in (store / FOLDER).glob("*.json"):
        try:
            certificate = Certificate.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue
        if certificate.holds and path.stem == certificate.subject:
            found.add(certificate.subject)
    return frozenset(found)
