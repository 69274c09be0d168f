"""From a bundle to answers over HTTP. Nothing in here trains, and nothing imports torch itself."""
