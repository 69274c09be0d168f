"""What an exported model's folder holds besides the model: read without torch, so it is told here without torch."""

RUNTIME = "runtime.json"  # what runs it and what it takes
GRAPH = "graph.onnx"
TREES = ("xgboost", "lightgbm")  # libraries whose models run as they are
