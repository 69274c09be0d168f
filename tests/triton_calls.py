"""Calls servers with Triton's own client and prints what they answer. Run in the environment that has the client.

Takes JSON: `protocol` (http or grpc), `url`, `calls`: each a model, its inputs, whether tensors go as bytes.
"""

import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype


def main(asked):
    client = getattr(tritonclient, asked["protocol"])
    with client.InferenceServerClient(asked["url"], **asked.get("settings", {})) as server:
        facts = {
            "live": server.is_server_live(),
            "ready": server.is_server_ready(),
            "metadata": {model: metadata(server, model) for model in asked.get("models", [])},
        }
        print(json.dumps({**facts, "answers": [answer(client, server, call) for call in asked["calls"]]}))


def metadata(server, model):
    assert server.is_model_ready(model)
    found = server.get_model_metadata(model)
    if not isinstance(found, dict):
        found = {side: [as_dict(one) for one in getattr(found, side)] for side in ("inputs", "outputs")}
    return {side: found[side] for side in ("inputs", "outputs")}


def as_dict(tensor):
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def answer(client, server, call):
    inputs = []
    for name, datatype, values in call["inputs"]:
        array = np.array(values, object if datatype == "BYTES" else triton_to_np_dtype(datatype))
        one = client.InferInput(name, list(array.shape), datatype)
        is_http = client is tritonclient.http
        one.set_data_from_numpy(array, **({"binary_data": call["binary"]} if is_http else {}))
        inputs.append(one)
    names = call["outputs"]
    more = {"binary_data": call["binary"]} if client is tritonclient.http else {}
    outputs = [client.InferRequestedOutput(name, **more) for name in names]
    try:
        found = server.infer(
            call["model"], inputs, outputs=outputs, request_id="r-1", model_version=call.get("version", "")
        )
    except InferenceServerException as error:
        return {"error": error.message()}
    return {name: told(found.as_numpy(name)) for name in names}


def told(values):
    datatype = np_to_triton_dtype(values.dtype)
    data = [one.decode() if isinstance(one, bytes) else one for one in values.reshape(-1).tolist()]
    return {"datatype": datatype, "shape": list(values.shape), "data": data}


main(json.load(sys.stdin))
