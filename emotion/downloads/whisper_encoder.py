"""Write `emotion/features/whisper_tiny_smart_turn.npz` from the ONNX file of Smart Turn v3.2.

The package pipecat-ai contains that file:

    python -m emotion.downloads.whisper_encoder smart-turn-v3.2-cpu.onnx

Needs the package onnx. The 8-bit weights are copied as they are, with a scale for each output.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emotion.files import atomic_path

OUTPUT = Path(__file__).parents[1] / "features" / "whisper_tiny_smart_turn.npz"
N_LAYERS, SIZE = 2, 384
_PREFIX = "inner.encoder."
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_NAMES = {
    "self_attn.out_proj": "self_attn.out_proj",
    "self_attn_layer_norm": "norm1",
    "fc1": "linear1",
    "fc2": "linear2",
    "final_layer_norm": "norm2",
}
"""Names of the parts of a layer in Whisper, and in `torch.nn.TransformerEncoderLayer`."""


def main() -> None:
    """Read the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    arrays = convert(parser.parse_args().onnx)
    with atomic_path(OUTPUT) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def convert(path: Path) -> dict[str, np.ndarray]:
    """Return the weights by the names of `emotion.features.whisper`, with `NAME.scale` beside 8-bit ones."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    quantized = {
        node.output[0]: [constants[name] for name in node.input]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    arrays: dict[str, np.ndarray] = {"positions": constants[f"{_PREFIX}embed_positions.weight"].astype(np.float16)}
    for name in ("conv1", "conv2"):
        values, scale, _ = quantized[f"{_PREFIX}{name}.weight_DequantizeLinear_Output"]
        arrays |= {f"{name}.weight": values, f"{name}.weight.scale": scale.reshape(-1, 1, 1)}
        values, scale, _ = quantized[f"{_PREFIX}{name}.bias"]
        arrays[f"{name}.bias"] = (values * scale).astype(np.float32)
    matrices = dict(_matrices(graph, quantized))
    for number in range(N_LAYERS):
        arrays |= _layer(number, matrices, constants)
    return arrays


def _matrices(graph: Any, quantized: Mapping[str, list[np.ndarray]]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and the 8-bit values and scales of each matrix, which is that of the bias added to its product."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    layer = 0
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in quantized:
            continue
        following = users[node.output[0]][0]
        while following.op_type in ("QuantizeLinear", "DequantizeLinear"):
            following = users[following.output[0]][0]
        biases = [name for name in following.input if name.startswith(f"{_PREFIX}layers.")]
        if biases:
            yield biases[0].removeprefix(_PREFIX).removesuffix(".bias"), quantized[node.input[1]]
        elif quantized[node.input[1]][0].shape == (SIZE, SIZE):  # keys have no bias
            yield f"layers.{layer}.self_attn.k_proj", quantized[node.input[1]]
            layer += 1


def _layer(
    number: int, matrices: Mapping[str, list[np.ndarray]], constants: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the arrays of a layer; queries, keys and values are joined."""
    own, arrays = f"layers.{number}.", {}
    joined = [matrices[f"{own}self_attn.{name}"] for name in _PROJECTIONS]
    arrays[f"{own}self_attn.in_proj_weight"] = np.concatenate([values.T for values, *_ in joined])
    arrays[f"{own}self_attn.in_proj_weight.scale"] = np.concatenate([scale for _, scale, *_ in joined])[:, None]
    arrays[f"{own}self_attn.in_proj_bias"] = np.concatenate(
        [constants.get(f"{_PREFIX}{own}self_attn.{name}.bias", np.zeros(SIZE, np.float32)) for name in _PROJECTIONS]
    )
    for theirs, ours in _NAMES.items():
        arrays[f"{own}{ours}.bias"] = constants[f"{_PREFIX}{own}{theirs}.bias"]
        if own + theirs in matrices:
            values, scale, *_ = matrices[own + theirs]
            arrays |= {f"{own}{ours}.weight": values.T, f"{own}{ours}.weight.scale": scale[:, None]}
        else:
            arrays[f"{own}{ours}.weight"] = constants[f"{_PREFIX}{own}{theirs}.weight"]
    return arrays


if __name__ == "__main__":
    main()
