"""The folder of an adapter: ``<root>/adapters/<name>``, and what lies in it.

LoRA weights and their configuration as PEFT has them, the head if it has one, a golden embedding, a model card for
people, and the manifest.
"""

import errno
import hashlib
import os
from pathlib import Path

from vidsim.errors import VidsimError
from vidsim.paths import Place, rooted

MANIFEST, WEIGHTS, HEAD, GOLDEN = (
    "vidsim.json",
    "adapter_model.safetensors",
    "head.safetensors",
    "golden.safetensors",
)
CURVE, CARD = "curve.png", "README.md"
"""Files beside an adapter's weights that are for people; they shape no embedding. The card is written last."""


def adapters_of(root: Place) -> Path:
    """Return the folder of the adapters of an artefact root.

    Parameters
    ----------
    root : str or path
        Artefact root, a local folder.

    Returns
    -------
    Path
        ``<root>/adapters``.

    Raises
    ------
    VidsimError
        If the root is on an object store.
    """
    root = rooted(root)
    if "://" in root:
        raise VidsimError(f"adapters are kept in a local folder; {root!r} is an object store")
    return Path(root) / "adapters"


def find_adapter(root: Place, name: str) -> Path | None:
    """Find an adapter by its name.

    Parameters
    ----------
    root : str or path
        Artefact root.
    name : str
        Name.

    Returns
    -------
    Path or None
        Its folder, also of a name that `vidsim.adapt.card.refuse_folder` refuses; None if there is none, or the root
        is no local folder.

    Raises
    ------
    OSError
        If nobody may look.
    """
    root = rooted(root)
    if "://" in root or name != Path(name).name or name[:1] in {"", "."}:  # a path, or a file that is hidden
        return None
    folder = adapters_of(root) / name
    try:
        return folder if (folder / MANIFEST).is_file() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no folder can be called so
            return None
        raise


def hash_file(path: Path) -> str:
    """Hash a file of an adapter.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        SHA-256.

    Raises
    ------
    VidsimError
        If it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VidsimError(
            f"{os.fspath(path)!r} of the adapter cannot be read: {error.strerror}; train it again"
        ) from error
