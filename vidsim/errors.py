"""The errors a user can meet; each message says what was expected, what came, and what to do."""


class VidsimError(Exception):
    """Report a problem that the user can mend; the CLI prints it as one line and exits with status 2."""


class UnusableFile(VidsimError):
    """Report a stimulus file that cannot be used; ``extract`` writes it to the failure ledger and goes on.

    Parameters
    ----------
    kind : str
        Short machine-readable reason, such as ``"empty"`` or ``"truncated"``.
    reason : str
        One line for a person.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class NoEncoder(VidsimError):
    """Report a name that is no encoder's."""


class CheckpointUnavailable(VidsimError):
    """Report weights that are neither in a local folder, nor in the cache, nor reachable on the hub."""


class StoreError(VidsimError):
    """Report a store that cannot be read or written as asked."""


class NoStore(StoreError):
    """Report a place where no store has been made yet."""


class IndexCorrupted(VidsimError):
    """Report an index whose files are missing, truncated, altered, or of a newer version."""
