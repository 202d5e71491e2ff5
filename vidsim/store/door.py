"""The door to LanceDB: connections, credentials, and LanceDB's failures told in one line."""

import errno
import os
import random
import time
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from vidsim.disk import CLOSED, NO_ROOM, number_of
from vidsim.errors import StoreError
from vidsim.paths import EXPECTED, rooted

Connection = Any
"""A lancedb.db.DBConnection. Not imported here: importing lancedb takes a second, and entries need none of it."""

Handle = Any
"""A lancedb.table.Table, pinned to the version at which it was opened until it writes or moves on."""

Answer = TypeVar("Answer")

ATTEMPTS = 8
"""How often a commit is tried when other writers get in its way."""

_PAGE = 1000
_CONFLICTS = ("conflict", "too many concurrent writers", "already exists")
_UNREACHABLE = ("connecterror", "dns error", "kind: connect", "timed out", "resolve region")
_DENIED = ("accessdenied", "403 forbidden", "computemetadata", "no azure account name")
"""The last two where no credentials are given: LanceDB then asks the machine's own cloud for some."""
_CREDENTIALS = {
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
}
_ABSENT = "was not found"
_NO_SCHEME = "no object store provider found for scheme"


def is_remote(root: str) -> bool:
    """Tell object stores (``s3://``, ``gs://``, ``az://``) from local folders."""
    return "://" in root


def storage_options(root: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Collect what the object store needs beyond what LanceDB itself reads from the environment.

    LanceDB reads credentials by itself (``AWS_ACCESS_KEY_ID``, ``GOOGLE_APPLICATION_CREDENTIALS``, ...). An endpoint
    without TLS must be allowed explicitly, a custom endpoint needs some region, and the service-specific endpoint is
    unknown to LanceDB.

    Parameters
    ----------
    root : str
        Local folder or URI.
    environ : mapping of str to str
        Environment variables.

    Returns
    -------
    dict of str to str
        Options for the connection; empty for a local folder.

    Examples
    --------
    >>> storage_options("s3://clips/indexes", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    {'aws_endpoint': 'http://127.0.0.1:9000', 'allow_http': 'true', 'aws_region': 'us-east-1'}
    >>> storage_options("indexes", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    {}
    """
    if not root.startswith("s3://"):
        return {}
    options: dict[str, str] = {}
    endpoint = next(
        (environ[n] for n in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if environ.get(n)), None
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if endpoint:
        options["aws_endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options["allow_http"] = "true"
        region = region or "us-east-1"
    if region:
        options["aws_region"] = region
    return options


def connect(root: str) -> Connection:
    """Connect to the tables below an artefact root.

    Parameters
    ----------
    root : str
        Local folder or URI.

    Returns
    -------
    lancedb.db.DBConnection
        Tables live in ``<root>/store``.

    Raises
    ------
    StoreError
        If the place cannot be reached.
    """
    import lancedb

    with told(root):
        return lancedb.connect(f"{root}/store", storage_options=storage_options(root) or None)


def table_names(connection: Connection, root: str) -> list[str]:
    """List all tables.

    Parameters
    ----------
    connection : lancedb.db.DBConnection
        An open connection.
    root : str
        Named in errors.

    Returns
    -------
    list of str
        Sorted names, those of unfinished tables included.

    Raises
    ------
    StoreError
        If the place cannot be read.
    """
    names: list[str] = []
    token: str | None = None
    with told(root):
        while True:
            page = connection.list_tables(limit=_PAGE, page_token=token)
            names += page.tables
            token = page.page_token
            if not token or not page.tables:
                return sorted(names)


def open_table(connection: Connection, root: str, name: str) -> Handle | None:
    """Open a table at its latest version.

    Parameters
    ----------
    connection : lancedb.db.DBConnection
        An open connection.
    root : str
        Named in errors.
    name : str
        Table name.

    Returns
    -------
    lancedb.table.Table or None
        None where there is no such table, or where its creation was cut off.

    Raises
    ------
    StoreError
        If it is there but cannot be read.
    """  # noqa: DOC501 - told turns every error into a StoreError
    with told(f"table {name!r} in {root!r}", quoted=True):
        try:
            return connection.open_table(name)
        except ValueError as error:
            if _ABSENT in str(error):
                return None
            raise


def create_table(connection: Connection, root: str, name: str, schema: pa.Schema) -> Handle:
    """Create an empty table, or open the one that another process has just created.

    Parameters
    ----------
    connection : lancedb.db.DBConnection
        An open connection.
    root : str
        Named in errors.
    name : str
        Table name.
    schema : pyarrow.Schema
        Columns and metadata.

    Returns
    -------
    lancedb.table.Table
        The table.

    Raises
    ------
    StoreError
        If it cannot be created.
    """

    def attempt() -> Handle:
        there = open_table(connection, root, name)
        if there is not None:
            return there
        try:
            return connection.create_table(name, schema=schema)
        except (RuntimeError, ValueError):
            there = open_table(connection, root, name)
            if there is None:
                raise
            return there

    return committed(root, attempt)


def committed(root: str, commit: Callable[[], Answer]) -> Answer:
    """Run a commit; try again, a little later each time, when another writer was in its way.

    Parameters
    ----------
    root : str
        Named in errors.
    commit : callable
        Commits once; nothing of it stays behind when it raises.

    Returns
    -------
    object
        What the commit returns.

    Raises
    ------
    StoreError
        If the commit fails, or still conflicts after `ATTEMPTS` attempts.
    """  # noqa: DOC501 - told turns every error into a StoreError
    with told(root):
        for attempt in range(ATTEMPTS - 1):
            try:
                return commit()
            except (RuntimeError, ValueError, OSError) as error:
                if not any(sign in str(error).lower() for sign in _CONFLICTS):
                    raise
            time.sleep(random.uniform(0.5, 1.5) * 0.02 * 2**attempt)
        return commit()


@contextmanager
def told(what: str, *, quoted: bool = False) -> Generator[None]:
    """Turn the failures of LanceDB and of the file system into one line.

    Parameters
    ----------
    what : str
        The root, or what was being read.
    quoted : bool
        Whether `what` is a phrase that names the root already.

    Raises
    ------
    StoreError
        In place of what was raised.
    """
    place = what if quoted else f"the store in {what!r}"
    try:
        yield
    except StoreError:
        raise
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        raise StoreError(_line(place, error)) from error
    except BaseException as error:
        # a damaged file can make LanceDB's native code panic, which is no Exception
        if type(error).__name__ == "PanicException":
            raise StoreError(_line(place, error)) from error
        raise


def _line(place: str, error: BaseException) -> str:
    text, number = " ".join(str(error).split()), number_of(error)
    if number in NO_ROOM:
        return f"no space left for {place}; what was committed is safe: free some space and run again"
    if number == errno.EROFS:
        return (
            f"the disk of {place} is read-only; what was committed is safe: make it writable, or choose another --root"
        )
    if number in CLOSED:
        return f"no permission to use {place}; check its owner and mode"
    if any(sign in text.lower() for sign in _DENIED):
        variables = next((names for scheme, names in _CREDENTIALS.items() if f"{scheme}://" in place), None)
        return f"access to {place} is denied; check the credentials ({variables or _CREDENTIALS['s3']})"
    if _NO_SCHEME in text.lower():
        return f"{place} cannot be used, as it begins with no scheme that is known; expected {EXPECTED}"
    if "nosuchbucket" in text.lower():
        return f"the bucket of {place} does not exist; create it first"
    if any(sign in text.lower() for sign in _UNREACHABLE):
        return (
            f"{place} cannot be reached; check the network, the endpoint (AWS_ENDPOINT_URL) and the region (AWS_REGION)"
        )
    # LanceDB appends the places of its own sources
    text = text.split(", /")[0].removeprefix("lance error: ")
    return f"{place} cannot be used: {text[:300]}; see: vidsim doctor"


def folder(root: str | os.PathLike[str]) -> str:
    """Normalise an artefact root.

    Parameters
    ----------
    root : str or path
        Local folder, absolute or not, or a URI.

    Returns
    -------
    str
        An absolute path, or the URI without a trailing slash.

    Raises
    ------
    VidsimError
        If it is an address made a path, or the home folder is not known.
    StoreError
        If it holds a line break or another control character, which Lance refuses.
    """
    text = rooted(root)
    text = text.rstrip("/") if is_remote(text) else os.fspath(Path(text).absolute())
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise StoreError(f"the store's folder {text!r} has a control character in its name; choose another --root")
    return text
