"""First pass: a configuration may be built and yet not run."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.machine import of_machine
from vidsim.errors import VidsimError


class FirstPass:
    """Tell in one line what keeps a network from its first pass; once it has run, nothing is put down to its files.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    files : str
        Those that would be at fault.
    """

    def __init__(self, resolved: Resolved, files: str = "config.json") -> None:
        self._resolved = resolved
        self._files = files
        self._over = False

    @contextmanager
    def told(self) -> Generator[None]:
        """Run the network within this.

        Raises
        ------
        VidsimError
            If it fails in the first pass, for another reason than memory, a device, a disk or torch's compiler.
        """
        try:
            yield
        except Exception as error:  # networks fail in their own ways
            said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            compiling = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
            if self._over or compiling or of_machine(error) or isinstance(error, VidsimError | OSError):
                raise
            resolved = self._resolved
            beside = ", and size and options in its card that fit it" if resolved.own else ""
            raise VidsimError(
                f"{resolved.card.name} cannot run with the checkpoint in {os.fspath(resolved.folder or '')!r}: {said}; "
                f"expected {self._files} as published{beside}"
            ) from error
        self._over = True
