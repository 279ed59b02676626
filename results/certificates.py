"""Certificates: small files in the store that say which checks a backbone, as it was loaded, has passed."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

FOLDER = "certificates"


class CheckRow(BaseModel):
    """A check and what was seen; ``passed`` is null where it does not apply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool | None
    seen: str


class Certificate(BaseModel):
    """Of one backbone, by the hash of its weights. Other versions of the libraries may need a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    weights_sha256: str
    created: str
    packages: dict[str, str]
    checks: list[CheckRow]
    schema_version: Literal[1] = 1

    @property
    def holds(self) -> bool:
        """Whether no check failed, and any was passed at all."""
        verdicts = [check.passed for check in self.checks]
        return False not in verdicts and True in verdicts


def issue(backbone: str, weights_sha256: str, packages: dict[str, str], checks: list[CheckRow]) -> Certificate:
    """A certificate of now."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Certificate(
        backbone=backbone, weights_sha256=weights_sha256, created=created, packages=packages, checks=checks
    )


def keep(certificate: Certificate, store: Path) -> Path:
    """Write it into the store's folder of certificates, whole or not at all; an older one of the weights gives way."""
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{certificate.weights_sha256}.json"
    fresh = folder / f".{certificate.weights_sha256}.{os.getpid()}"
    fresh.write_text(certificate.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, target)
    return target


def certified(store: Path) -> frozenset[str]:
    """Hashes of the weights that hold a certificate in this store; files that are none count for nothing."""
    found = set()
    for path in (store / FOLDER).glob("*.json"):
        try:
            certificate = Certificate.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue
        if certificate.holds and path.stem == certificate.weights_sha256:
            found.add(certificate.weights_sha256)
    return frozenset(found)
