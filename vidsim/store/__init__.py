"""The embedding store: table = encoder and feature spec, row = stimulus, column = layer; LanceDB beneath."""

from vidsim.store.ledger import Failure, FailureLedger
from vidsim.store.missing import NotStored
from vidsim.store.named import NamedTables
from vidsim.store.store import Store
from vidsim.store.table import EmbeddingTable, Entry, InvalidVectors

__all__ = ["EmbeddingTable", "Entry", "Failure", "FailureLedger", "InvalidVectors", "NamedTables", "NotStored", "Store"]
