"""Rows of the catalog, one file a family. Imports no torch, so that listing models is quick."""
