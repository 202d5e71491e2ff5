"""What a training leaves: an adapter's folder, written aside and then given its name."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vidsim.adapt import adapter
from vidsim.adapt.attached import Attached
from vidsim.adapt.drafts import replaced
from vidsim.adapt.folder import hash_file
from vidsim.adapt.manifest import CHECKED, Manifest
from vidsim.disk import remedy
from vidsim.encoders.base import Encoder
from vidsim.encoders.catalog import Resolved
from vidsim.errors import VidsimError


def base_of(resolved: Resolved) -> dict[str, Any]:
    """Describe the encoder that an adapter was trained on, as its manifest does.

    Parameters
    ----------
    resolved : Resolved
        The encoder, whose files have been found.

    Returns
    -------
    dict of str to object
        Where it came from, and the hashes of what its embeddings depend on.
    """
    identity = resolved.identity
    return {
        "encoder": resolved.card.name,
        "checkpoint": resolved.card.checkpoint,
        "revision": resolved.revision,
        "local": resolved.local,
        "pooling": resolved.pooling,
        **{what: identity[what] for what in CHECKED},
    }


def leave(
    manifest: Manifest, attached: Attached, encoder: Encoder, folder: Path, *, force: bool, kept: bool
) -> Manifest:
    """Write an adapter's folder, all of it or nothing.

    Parameters
    ----------
    manifest : Manifest
        What it says, but for its files.
    attached : Attached
        What was trained.
    encoder : Encoder
        The encoder that it is attached to.
    folder : Path
        Where the adapter will be.
    force : bool
        Whether what is there by then is replaced.
    kept : bool
        Whether the state of the run lies on the disk.

    Returns
    -------
    Manifest
        With the hashes of the files.

    Raises
    ------
    Taken
        If something is there by then, and is not to be replaced.
    VidsimError
        If the disk is full or cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replaced(folder, force=force) as made:
            adapter.save(attached, made, encoder, manifest.layer)
            files = {path.name: hash_file(path) for path in sorted(made.iterdir()) if path.suffix != ".md"}
            manifest = replace(manifest, files=files)
            manifest.write(made)
    except (OSError, SafetensorError) as error:
        raise VidsimError(
            f"the adapter cannot be written to {os.fspath(folder)!r}: {error}; {remedy(error)} and run the same "
            f"command again{': what was trained is kept' * kept}"
        ) from error
    return manifest
