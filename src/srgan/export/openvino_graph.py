"""The upscaler's own OpenVINO graph, dressed for others: names, pictures in 0..1 on both sides, any batch."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as ops

from srgan.model import weights as weights_module
from srgan.model.weights import Weights
from srgan.upscale import graph
from srgan.upscale.int8 import Form


def build(weights: Weights, form: Form | None) -> openvino.Model:
    """lr (N, 3, H, W) -> sr (N, 3, sH, sW), both float32 RGB in 0..1, sr clamped; N, H and W free.

    `form`: compute the convolutions that it quantises in int8.
    """
    int8 = None if form is None else form.tensors
    inner = graph.build(weights.config, weights_module.fold_batchnorm(weights), "whole", int8)
    inner.reshape([-1, weights.config.channels, -1, -1])
    start = inner.get_parameters()[0]
    sr_signed = inner.get_results()[0].input_value(0)
    half = ops.constant(np.float32(0.5))
    sr = ops.clamp(ops.add(ops.multiply(sr_signed, half), half), 0.0, 1.0)
    model = openvino.Model([sr], [start], "srgan")
    model.inputs[0].tensor.set_names({"lr"})
    model.outputs[0].tensor.set_names({"sr"})
    start.set_friendly_name("lr")
    return model
