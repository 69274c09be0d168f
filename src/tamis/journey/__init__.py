"""The whole way as one call: a configuration in, a saved recommender out; and the demo."""
