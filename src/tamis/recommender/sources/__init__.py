"""Where candidates come from: towers and their index, item-item weights, popularity, recency."""
