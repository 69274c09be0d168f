"""Parquet to Dataset to shuffled torch batches."""
