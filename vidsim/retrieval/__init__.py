"""Indexes over embeddings."""
