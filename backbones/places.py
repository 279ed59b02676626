"""Where relative paths of a plan are looked up: beside the plan, then the data root, then the current folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Folders searched in order for every relative path a person writes (data, cards, weights).

    ``trust``: the person vouches for files that could run code when read (``--trust``); without it they are refused.
    """

    roots: tuple[Path, ...] = (Path("."),)
    trust: bool = False

    def find(self, path: str | Path, what: str = "file") -> Path:
        """The first existing match, absolute. Raises ``FileNotFoundError`` naming every place looked in."""
        given = Path(path).expanduser()
        candidates = [given] if given.is_absolute() else [root / given for root in self.roots]
        for candidate in candidates:
            if candidate.exists():
                return candidate.resolve()
        looked = ", ".join(str(candidate.absolute()) for candidate in dict.fromkeys(candidates))
        raise FileNotFoundError(f"no {what} {str(path)!r}: looked for {looked} (set --data-root to where your data is)")

    def beside(self, file: Path) -> "Places":
        """The same places, with the folder of ``file`` searched first."""
        return Places((file.parent, *self.roots), self.trust)
