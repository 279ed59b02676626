"""Jobs that ask for what their cells are expected to need, no more: short ones start sooner."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from bob.estimate import Estimate, filled
from slurm.parcel import Parcel
from slurm.place import End, Place, Standing, Work


class FilledIn(Place):
    """A place whose parcels ask for the time and memory that is expected, within what the profile says.

    Cells that were tried before get all the time the profile allows: they may have been stopped for the lack of it.
    """

    def __init__(
        self,
        place: Place,
        estimates: Mapping[str, Estimate],
        tried: Callable[[str], bool],
        memory: Literal["host", "gpu"],
    ) -> None:
        self.place, self.estimates, self.tried, self.memory = place, estimates, tried, memory

    def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
        """As the place's own."""
        self.place.submit([self._filled(parcel) for parcel in parcels], work)

    def standing(self) -> Mapping[str, Standing]:
        """As the place's own."""
        return self.place.standing()

    def ends(self) -> Mapping[str, End]:
        """As the place's own."""
        return self.place.ends()

    def cancel(self, units: Collection[str] | None = None) -> int:
        """As the place's own."""
        return self.place.cancel(units)

    def _filled(self, parcel: Parcel) -> Parcel:
        known = [self.estimates[unit] for unit in parcel.units if unit in self.estimates]
        if len(known) < len(parcel.units):
            return parcel
        asked = filled(parcel.resources, known, self.memory)
        if any(map(self.tried, parcel.units)):
            asked = asked.model_copy(update={"time_min": parcel.resources.time_min})
        return replace(parcel, resources=asked)
