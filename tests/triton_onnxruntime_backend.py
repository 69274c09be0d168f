"""Stands in for Triton's ONNX Runtime backend, which its pip package does not bring: the same files, from Python."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.output = config["output"][0]["name"]
        self.inputs = [one["name"] for one in config["input"]]
        self.is_batched = config["max_batch_size"] > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options)

    def execute(self, requests):
        """As the backend does: a batch in one run where the model takes batches."""
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            for request in requests
        ]
        if self.is_batched:
            together = {name: np.concatenate([feed[name] for feed in feeds]) for name in self.inputs}
            found = self.session.run(None, together)[0]
            ends = np.cumsum([len(feed[self.inputs[0]]) for feed in feeds])
            parts = np.split(found, ends[:-1])
        else:
            parts = [self.session.run(None, feed)[0] for feed in feeds]
        return [pb_utils.InferenceResponse([pb_utils.Tensor(self.output, np.ascontiguousarray(p))]) for p in parts]
