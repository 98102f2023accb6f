"""Weights of ONNX models in 8 and 16 bits."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

_MIN_SIZE = 4096  # elements of a constant that is stored in fewer bits


def quantized(model: "ModelProto") -> "ModelProto":
    """Return a smaller model whose products of matrices are computed in 8 bits.

    Weights of these products have 8 bits and a scale for each output; their other factors are rounded to 8 bits when
    the model runs. Weights of convolutions are stored in 8 bits too, other large constants in 16, also of integers that
    fit; both are computed with in 32 bits.

    Args:
        model: Model with weights of 32 bits; it is left as it is.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        quantize_dynamic(model, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        smaller = onnx.load(path)
    _shrink_constants(smaller)
    return smaller


def computed_in_float(model: "ModelProto") -> "ModelProto":
    """Return a model with the weights of `quantized` whose products of matrices are computed in 32 bits.

    Their other factors are then not rounded. Rounding makes an answer depend on the last bits of all computations
    before it, which differ between processors, and between Python and a browser.

    Args:
        model: Model that `quantized` returned, or one with weights of 32 bits; it is left as it is.
    """
    from onnx import ModelProto, TensorProto, helper

    copy = ModelProto.FromString(model.SerializeToString())
    nodes = list(copy.graph.node)
    maker = {name: node for node in nodes for name in node.output}
    user = {name: node for node in nodes for name in node.input}
    weights, products, replaced = [], {}, []
    for product in nodes:
        if product.op_type != "MatMulInteger":
            continue
        # quantize_dynamic writes: float(MatMulInteger(rounded, weight)) * (scale of rounded * scale of weight).
        rounding, converted = maker[product.input[0]], user[product.output[0]]
        scaled = user[converted.output[0]]
        (scale,) = (maker[name] for name in scaled.input if name != converted.output[0])
        (weight_scale,) = (name for name in scale.input if name != rounding.output[1])
        weight = product.input[1]
        weights.append(helper.make_node("Cast", [weight], [f"{weight}.converted"], to=TensorProto.FLOAT))
        weights.append(helper.make_node("Mul", [f"{weight}.converted", weight_scale], [f"{weight}.float"]))
        products[scaled.output[0]] = helper.make_node(
            "MatMul", [rounding.input[0], f"{weight}.float"], list(scaled.output)
        )
        replaced += [rounding, product, converted, scale]
    kept = [products.get(node.output[0], node) for node in nodes if node not in replaced]
    nodes = [type(node).FromString(node.SerializeToString()) for node in (*weights, *kept)]  # not views of the graph
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in copy.graph.initializer if tensor.name in used]
    constants = [type(tensor).FromString(tensor.SerializeToString()) for tensor in constants]
    del copy.graph.node[:], copy.graph.initializer[:]
    copy.graph.node.extend(nodes)
    copy.graph.initializer.extend(constants)
    return copy


def _shrink_constants(model: "ModelProto") -> None:
    """Store large constants in fewer bits, with nodes behind them that ONNX Runtime evaluates once, when it loads."""
    from onnx import TensorProto, helper, numpy_helper

    types: dict[int, type] = {TensorProto.FLOAT: np.float16, TensorProto.INT32: np.uint16}
    graph, nodes = model.graph, []
    of_convolutions = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for tensor in list(graph.initializer):
        if tensor.data_type not in types or np.prod(tensor.dims) < _MIN_SIZE:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        shorter = values.astype(types[tensor.data_type])
        if tensor.data_type == TensorProto.INT32 and not np.array_equal(shorter, values):
            continue
        graph.initializer.remove(tensor)
        stored, converted = f"{name}.stored", f"{name}.converted"
        if name in of_convolutions:
            scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True).clip(min=1e-12) / 127
            graph.initializer.append(numpy_helper.from_array(np.round(values / scale).astype(np.int8), stored))
            graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [stored], [converted], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [converted, f"{name}.scale"], [name]))
        else:
            graph.initializer.append(numpy_helper.from_array(shorter, stored))
            nodes.append(helper.make_node("Cast", [stored], [name], to=tensor.data_type))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
