"""Batches to vectors: pure torch modules."""
