"""A folder whose images are packed: ``train2017.zip`` is read as if it were unpacked beside where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.datasets.folder_source import FolderFiles
from tasks.datasets.sources import Source
from tasks.datasets.zip_source import ZipFiles


@dataclass(frozen=True)
class PackedBeside:
    """The files of a folder, and those of zips in it; what is unpacked goes before what is packed."""

    folder: FolderFiles
    packed: Mapping[str, tuple[ZipFiles, str]] = field(repr=False)

    @property
    def location(self) -> str:
        """That of the folder."""
        return self.folder.location

    def files(self) -> Sequence[str]:
        """Files of the folder and of the zips, sorted."""
        return sorted({*self.folder.files(), *self.packed})

    def folders(self) -> Sequence[str]:
        """The folder's folders."""
        return self.folder.folders()

    def stamp(self, name: str) -> str:
        """The file's, or the zip's."""
        return self.packed[name][0].stamp(name) if name in self.packed else self.folder.stamp(name)

    def read(self, name: str) -> bytes:
        """The bytes of one file or member."""
        if name not in self.packed:
            return self.folder.read(name)
        archive, member = self.packed[name]
        return archive.read(member)


def with_packed(source: Source, folders: Sequence[str]) -> Source:
    """The source, with what is packed in ``FOLDER.zip`` for any of the folders; the source itself where nothing is."""
    if not isinstance(source, FolderFiles):
        return source
    here = {*source.files()}
    packed: dict[str, tuple[ZipFiles, str]] = {}
    for name in [f"{folder}.zip" for folder in folders if f"{folder}.zip" in here]:
        archive = ZipFiles(Path(source.root) / name)
        above = name.rpartition("/")[0]
        for member in archive.files():
            packed.setdefault(f"{above}/{member}" if above else member, (archive, member))
    packed = {name: found for name, found in packed.items() if name not in here}
    return PackedBeside(source, packed) if packed else source
