"""What is launched: units of work by name, and parcels of units that one job does one after the other."""

from dataclasses import dataclass

from slurm.resources import Resources


@dataclass(frozen=True)
class Unit:
    """One piece of work. ``seconds`` is how long it is expected to take, None where nobody knows.

    Units of one ``group`` share what is costly to set up (a backbone's weights), and are kept together.
    """

    name: str
    group: str
    resources: Resources
    seconds: float | None = None


@dataclass(frozen=True)
class Parcel:
    """Units that one job does in this order, and what that job asks for."""

    units: tuple[str, ...]
    resources: Resources
