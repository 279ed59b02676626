"""``bob certify``: put a backbone through every check and keep the certificate."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from backbones.catalogue import load
from backbones.certification import Check, checks
from backbones.places import Places
from backbones.reference import reference_of
from bob.provenance import provenance
from results.certificates import Certificate, CheckRow, issue, keep


def certify(name: str, places: Places, store: Path, say: Callable[[str], None]) -> tuple[Certificate, Path]:
    """Run the checks, telling each, and write the certificate, passed or not. Errors are those of loading."""
    backbone = load(name, places)
    rows = []
    for check in checks(backbone, lambda: load(name, places), reference_of(name, backbone, places)):
        say(f"{_verdict(check):<5} {check.name}: {check.seen}")
        rows.append(CheckRow(name=check.name, passed=check.passed, seen=check.seen))
    card, preprocess = backbone.card, dataclasses.asdict(backbone.preprocess)
    certificate = issue(card.name, card.weights_sha256, preprocess, provenance().packages, rows)
    return certificate, keep(certificate, store)


def _verdict(check: Check) -> str:
    return {True: "ok", False: "FAIL", None: "n/a"}[check.passed]
