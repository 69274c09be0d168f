"""Retrieval, filters and ordering as one object that answers with raw ids."""
