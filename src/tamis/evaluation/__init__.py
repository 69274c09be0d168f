"""Predictions and truth -> numbers: metrics, exact top-k over the whole catalogue, the HTML report."""
