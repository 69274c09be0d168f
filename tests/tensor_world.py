"""Encoded inputs of the small world's graphs, by the name of the tensor: datatype and values."""

import numpy as np

INFER = "/v2/models/{}/infer"
TOWER = {
    "user": ("INT64", np.array([[3], [4]])),
    "age": ("FP32", np.array([[0.5], [-1.0]], np.float32)),
}
RANKER = {
    "user": ("INT64", np.array([3])),
    "age": ("FP32", np.array([0.5], np.float32)),
    "hour": ("INT64", np.array([4])),
    "item": ("INT64", np.array([1, 2, 3])),
    "category": ("INT64", np.array([1, 2, 1])),
    "price": ("FP32", np.array([0.0, 0.5, 1.0], np.float32)),
}
