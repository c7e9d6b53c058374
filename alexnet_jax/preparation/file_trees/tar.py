"""Lists tars without unpacking them."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.tree import ArchiveMember, Tree, archive_tree


def list_tar(path: Path, shown: str) -> Tree:
    try:
        return archive_tree(_members(path), str(path), shown)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read as a tar: {error}") from None


def _members(path: Path) -> Iterator[ArchiveMember]:
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isdir():
                yield ArchiveMember(member.name, "folder")
            elif member.issym():
                yield ArchiveMember(member.name, "link", target=member.linkname)
            elif member.islnk():
                yield ArchiveMember(member.name, "hard link", target=member.linkname)
            elif not member.isreg() or member.issparse():
                yield ArchiveMember(member.name, "special")
            else:
                yield ArchiveMember(member.name, "file", member.offset_data, member.size)
            # tarfile would keep every header in memory
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
        end = tar.offset
    with open(path, "rb") as file:  # tarfile takes a damaged or missing header for the end
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("damaged or cut off in the middle")
