"""What the image families in PyTorch share: resampling as their authors have it, and copying our parameters."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Size = tuple[int, int, int]


def halvings(size: Size, smallest: int) -> int:
    height, width, _ = size
    depth = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * smallest:
        height, width, depth = height // 2, width // 2, depth + 1
    return depth


class Filter(nn.Module):
    """The same filter along both sides of each channel, whose weights sum to `gain`."""

    def __init__(self, taps: tuple[float, ...], gain: float) -> None:
        super().__init__()
        line = torch.tensor(taps)
        self.register_buffer("kernel", torch.outer(line, line) * (gain / sum(taps) ** 2), persistent=False)
        self.kernel: Any

    def weight(self, x: Any) -> Any:
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)


class Upsample(Filter):
    def __init__(self) -> None:
        super().__init__((1.0, 3.0, 3.0, 1.0), 4.0)

    def forward(self, x: Any) -> Any:
        return F.conv_transpose2d(x, self.weight(x), stride=2, padding=1, groups=x.shape[1])


class Downsample(Filter):
    def __init__(self) -> None:
        super().__init__((1.0, 3.0, 3.0, 1.0), 1.0)

    def forward(self, x: Any) -> Any:
        return F.conv2d(x, self.weight(x), stride=2, padding=1, groups=x.shape[1])


class UpsampledConvolution(Filter):
    """Doubling with the filter [1, 3, 3, 1], convolution; outside of the doubled image is its edge."""

    def __init__(self) -> None:
        super().__init__((1.0, 3.0, 3.0, 1.0), 4.0)

    def forward(self, x: Any, weight: Any) -> Any:
        y = F.conv_transpose2d(x, weight.flip(2, 3).transpose(0, 1), stride=2)
        y = F.pad(y, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(y, self.weight(y), groups=y.shape[1])


class DownsampledConvolution(Filter):
    """[1, 2, 1] with the edge outside, and [1, 1] with zeros: together [1, 3, 3, 1]; then a convolution of stride 2."""

    def __init__(self) -> None:
        super().__init__((1.0, 2.0, 1.0), 1.0)

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        y = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv2d(y, self.weight(y), groups=y.shape[1])
        return F.conv2d(F.avg_pool2d(y, 2, stride=1, padding=1), weight, bias, stride=2)


def put(tensor: Any, array: Any) -> None:
    """Copies an array of ours into a parameter or buffer of the same shape."""
    array = np.array(array, np.float32)
    if tensor.shape != array.shape:
        raise ValueError(f"an array of shape {array.shape} does not fit into {tuple(tensor.shape)}")
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(array))


def put_layer(layer: Any, tree: Any, u: Any = None) -> None:
    """Copies "kernel" and "bias" of a dense layer or a convolution; u: what spectral normalization carries.

    Ours makes v of u, and theirs carries both: the next pass of both sees the same u in use, and in training
    half an iteration is between them, which makes no difference once u has converged.
    """
    kernel = np.asarray(tree["kernel"], np.float32)
    weight = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
    put_weight(layer, weight, u)
    if getattr(layer, "bias", None) is not None and "bias" in tree:
        put(layer.bias, tree["bias"])


def put_weight(layer: Any, weight: np.ndarray, u: Any = None) -> None:
    if u is None:
        # a dense kernel stands for a 1x1 convolution, too
        put(layer.weight, weight.reshape(layer.weight.shape))
        return
    (normalization,) = layer.parametrizations.weight
    original = layer.parametrizations.weight.original
    weight = weight.reshape(original.shape)
    put(original, weight)
    matrix = weight.reshape(len(weight), -1)
    v = _unit(matrix.T @ np.asarray(u, np.float32))
    put(normalization._u, _unit(matrix @ v))
    put(normalization._v, v)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
