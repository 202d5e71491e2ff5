"""Files of an artefact folder, local or on an object store."""

import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import quote

from vidsim.errors import VidsimError
from vidsim.paths import Place, rooted

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@runtime_checkable
class Artefacts(Protocol):
    """A folder whose files are replaced whole: a reader sees the old bytes or the new ones, never a mixture."""

    place: str

    def get(self, name: str) -> AbstractContextManager[Path]:
        """Give a file as a local path, for as long as the context lasts; raises FileNotFoundError."""
        ...

    def put(self, name: str, write: Callable[[Path], None]) -> str:
        """Replace a file by what ``write`` puts at the local path it is given; return the content's SHA-256."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...

    def files(self) -> dict[str, float]:
        """Map the files at any depth, by their path relative to the folder, to their age in seconds."""
        ...


def artefacts(root: Place, *parts: str) -> Artefacts:
    """Open a folder below the artefact root.

    Parameters
    ----------
    root : str or path
        Local folder, or a URI such as ``s3://bucket/prefix``.
    parts : str
        Folders below it.

    Returns
    -------
    Artefacts
        The folder; it need not exist.
    """
    root = rooted(root)
    if "://" in root:
        from pyarrow.fs import FileSystem

        endpoint = os.environ.get("AWS_ENDPOINT")  # as the store understands it; AWS_ENDPOINT_URL is known to Arrow
        override = f"?endpoint_override={quote(endpoint, safe='')}" if endpoint and root.startswith("s3://") else ""
        with _told(root):
            # quoted: a bucket's folders may have names that a URI may not
            system, base = FileSystem.from_uri(quote(root.rstrip("/"), safe=":/?=&@%") + override)
        return _Remote(system, "/".join([base, *parts]), "/".join([root.rstrip("/"), *parts]))
    return _Local(Path(root, *parts))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class _Local:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.place = os.fspath(folder)

    @contextmanager
    def get(self, name: str) -> Generator[Path]:
        path = self._folder / name
        if not path.is_file():
            raise FileNotFoundError(path)
        yield path

    def put(self, name: str, write: Callable[[Path], None]) -> str:
        path = self._folder / name
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            content = digest(partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # faiss reports a full disk as RuntimeError
            with suppress(OSError):  # on a disk that is read-only
                partial.unlink(missing_ok=True)
            raise VidsimError(f"cannot write to {self.place!r}: {_why(error)}; what was there is unchanged") from error
        return content

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def files(self) -> dict[str, float]:
        found = (p for p in sorted(self._folder.rglob("*")) if p.is_file())
        return {p.relative_to(self._folder).as_posix(): time.time() - p.stat().st_mtime for p in found}


def _why(error: OSError | RuntimeError) -> str:
    """Say why a file was not written, in one line."""
    text = str(error).partition("\n")[0]
    if isinstance(error, OSError):  # numpy tells of a write that ended too early, with no number of the system's
        return error.strerror or f"{text}, as on a full disk"
    return text


class _Remote:
    def __init__(self, system: "FileSystem", base: str, place: str) -> None:
        self._system = system
        self._base = base
        self.place = place

    @contextmanager
    def get(self, name: str) -> Generator[Path]:
        with TemporaryDirectory() as folder:
            path = Path(folder, "file")
            with (
                _told(self.place),
                self._system.open_input_stream(f"{self._base}/{name}") as stream,
                path.open("wb") as file,
            ):
                shutil.copyfileobj(stream, file, 1 << 24)
            yield path

    def put(self, name: str, write: Callable[[Path], None]) -> str:
        with TemporaryDirectory() as folder:
            path = Path(folder, "file")
            write(path)
            with (
                _told(self.place),
                path.open("rb") as file,
                self._system.open_output_stream(f"{self._base}/{name}") as stream,
            ):
                shutil.copyfileobj(file, stream, 1 << 24)
            return digest(path)

    def remove(self, name: str) -> None:
        with _told(self.place), suppress(FileNotFoundError):
            self._system.delete_file(f"{self._base}/{name}")

    def files(self) -> dict[str, float]:
        from pyarrow.fs import FileSelector

        with _told(self.place):
            found = self._system.get_file_info(FileSelector(self._base, recursive=True, allow_not_found=True))
        files = {i.path.removeprefix(self._base + "/"): time.time() - i.mtime_ns / 1e9 for i in found if i.is_file}
        return dict(sorted(files.items()))


@contextmanager
def _told(place: str) -> Generator[None]:
    """Turn what an object store answers into one line; a missing file stays FileNotFoundError."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise VidsimError(f"cannot use {place!r}: {' '.join(str(error).split())}") from error
