"""Inception-v3 as FID and IS use it: the TensorFlow graph of 2015-12-05, with PyTorch's conversion of its weights.

It is not the Inception-v3 of torchvision or Keras: average pooling leaves out the padding, the last block pools by
maximum, there are 1008 logits, and the weights were trained otherwise. Distances under those networks are no FID.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567; Heusel et al.,
2017, arXiv 1706.08500, for FID; Salimans et al., 2016, arXiv 1606.03498, for IS. Names of blocks and weights are
those of pytorch-fid and torch-fidelity.
"""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, to_uint8
from jaxgan.nets.torch_weights import checked_state, read_state

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
PUBLISHED_SHA256 = "6726825d"
"""First digits of the file's SHA-256, which its name carries by torch.hub's convention."""
MAX_BYTES = 200_000_000
SIZE = (299, 299)
NUM_FEATURES = 2048
NUM_CLASSES = 1008
BATCH_NORM_EPSILON = 1e-3

Params = Mapping[str, Mapping[str, np.ndarray]]
REFUSAL = "not the weights of the FID Inception-v3"


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm and ReLU. `same` pads with zeros so that stride 1 keeps the sides; else no padding."""

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True


@dataclass(frozen=True)
class Fork:
    """Convolutions of the same input, side by side in the channels."""

    convs: tuple[Conv, ...]


Pool = Callable[[Array], Array]
Branch = tuple[Conv | Fork | Pool, ...]


def average(x: Array) -> Array:
    """Mean of 3x3 pixels, stride 1, of those inside the picture: the graph of 2015, unlike torchvision's."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def maximum(x: Array) -> Array:
    """Maximum of 3x3 pixels, stride 1."""
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def halved(x: Array) -> Array:
    """Maximum of 3x3 pixels, stride 2, without padding."""
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def _block_a(pooled: int) -> tuple[Branch, ...]:
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))),
        (average, Conv("branch_pool", pooled)),
    )


def _block_c(inner: int) -> tuple[Branch, ...]:
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        (
            Conv("branch7x7dbl_1", inner),
            Conv("branch7x7dbl_2", inner, (7, 1)),
            Conv("branch7x7dbl_3", inner, (1, 7)),
            Conv("branch7x7dbl_4", inner, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ),
        (average, Conv("branch_pool", 192)),
    )


def _block_e(pool: Pool) -> tuple[Branch, ...]:
    def fork(name: str) -> Fork:
        return Fork((Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1))))

    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
        (pool, Conv("branch_pool", 192)),
    )


# name -> branches, each of which reads the output of the block before; outputs are concatenated
BLOCKS: dict[str, tuple[Branch, ...]] = {
    "Conv2d_1a_3x3": ((Conv("", 32, (3, 3), stride=2, same=False),),),
    "Conv2d_2a_3x3": ((Conv("", 32, (3, 3), same=False),),),
    "Conv2d_2b_3x3": ((Conv("", 64, (3, 3)),),),
    "MaxPool_1": ((halved,),),
    "Conv2d_3b_1x1": ((Conv("", 80),),),
    "Conv2d_4a_3x3": ((Conv("", 192, (3, 3), same=False),),),
    "MaxPool_2": ((halved,),),
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": (
        (Conv("branch3x3", 384, (3, 3), stride=2, same=False),),
        (
            Conv("branch3x3dbl_1", 64),
            Conv("branch3x3dbl_2", 96, (3, 3)),
            Conv("branch3x3dbl_3", 96, (3, 3), stride=2, same=False),
        ),
        (halved,),
    ),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), stride=2, same=False)),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, (3, 3), stride=2, same=False),
        ),
        (halved,),
    ),
    "Mixed_7b": _block_e(average),
    "Mixed_7c": _block_e(maximum),
}


def forward(params: Params, images: Array) -> dict[str, Array]:
    """What every block makes of images, by the block's name, then ``features``, ``logits_unbiased`` and ``logits``.

    images: float32 [n, 299, 299, 3], normalised to [-1, 1) by ``(x - 128) / 128`` (not by 127.5: see `extractors`).
    Blocks are [n, height, width, channel]; ``features`` [n, 2048] is pool3, the mean of the last block over
    positions; ``logits_unbiased`` [n, 1008] leaves the bias out, as the softmax of IS does; ``logits`` [n, 1008].
    Each image is treated alone. Compiled, what is not read is not computed. Raises ValueError for another shape.
    """
    if images.ndim != 4 or images.shape[1:] != (*SIZE, 3):
        raise ValueError(f"inception takes images [n, {SIZE[0]}, {SIZE[1]}, 3], got shape {images.shape}")
    made: dict[str, Array] = {}
    for name, branches in BLOCKS.items():
        images = made[name] = apply_block(params, name, branches, images)
    made["features"] = images.mean(axis=(1, 2))
    made["logits_unbiased"] = made["features"] @ params["fc"]["kernel"]
    made["logits"] = made["logits_unbiased"] + params["fc"]["bias"].reshape(1, -1)
    return made


def apply_block(params: Params, name: str, branches: tuple[Branch, ...], x: Array) -> Array:
    """One block: x [n, height, width, in] -> [n, height', width', out]."""

    def convolve(conv: Conv, x: Array) -> Array:
        weights = params[_full(name, conv)]
        x = jax.lax.conv_general_dilated(
            x,
            jnp.asarray(weights["kernel"]),
            (conv.stride, conv.stride),
            "SAME" if conv.same else "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return nn.relu(x + weights["bias"].reshape(1, 1, 1, -1))

    outputs = []
    for branch in branches:
        y = x
        for step in branch:
            if isinstance(step, Conv):
                y = convolve(step, y)
            elif isinstance(step, Fork):
                y = jnp.concatenate([convolve(conv, y) for conv in step.convs], axis=-1)
            else:
                y = step(y)
        outputs.append(y)
    return jnp.concatenate(outputs, axis=-1)


def _full(block: str, conv: Conv) -> str:
    return f"{block}.{conv.name}" if conv.name else block


def _convolutions() -> Iterator[tuple[str, int, Conv]]:
    """Every convolution with its full name and its number of input channels."""
    channels = 3
    for block, branches in BLOCKS.items():
        total = 0
        for branch in branches:
            width = channels
            for step in branch:
                convs = (step,) if isinstance(step, Conv) else step.convs if isinstance(step, Fork) else ()
                yield from ((_full(block, conv), width, conv) for conv in convs)
                width = sum(conv.features for conv in convs) or width
            total += width
        channels = total


def state_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the PyTorch state dict that `from_torch` takes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, channels, conv in _convolutions():
        shapes[f"{name}.conv.weight"] = (conv.features, channels, *conv.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (conv.features,)
    return shapes | {"fc.weight": (NUM_CLASSES, NUM_FEATURES), "fc.bias": (NUM_CLASSES,)}


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Parameters of `forward`, name -> float32 ``kernel`` and ``bias``, from a PyTorch state dict.

    state: that of pytorch-fid or torch-fidelity, with the names and shapes of `state_shapes`.

    The batch norm that follows each convolution (running statistics, epsilon 1e-3) is folded into it in float64:
    ``kernel * s`` and ``bias - mean * s`` with ``s = weight / sqrt(variance + epsilon)``. Kernels become
    [rows, columns, in, out]. The counters ``num_batches_tracked`` are passed over.
    Raises ValueError naming what is missing, unexpected or of another shape, and for weights that are not finite.
    """
    expected = state_shapes()
    trained = {name: value for name, value in state.items() if not name.endswith(".num_batches_tracked")}
    exact = {name: value.astype(np.float64) for name, value in checked_state(trained, expected, REFUSAL).items()}
    for name, value in exact.items():
        if name.endswith("running_var") and (value < 0).any():
            raise ValueError(f"{REFUSAL}: {name} is a negative variance")
    params = {}
    for name, _, _ in _convolutions():
        norm = {part: exact[f"{name}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        scale = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPSILON)
        kernel = exact[f"{name}.conv.weight"].transpose(2, 3, 1, 0) * scale
        params[name] = {"kernel": kernel, "bias": norm["bias"] - norm["running_mean"] * scale}
    params["fc"] = {"kernel": exact["fc.weight"].T, "bias": exact["fc.bias"]}
    return {
        name: {part: np.ascontiguousarray(value, np.float32) for part, value in parts.items()}
        for name, parts in params.items()
    }


def extractors(
    params: Params, resize: Callable[[Array, tuple[int, int]], Array]
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """`extract` and `classify` of a feature net, from float images [n, height, width, 1 or 3] in [-1, 1].

    They return features [n, 2048] and class probabilities [n, 1008], float32.

    resize: (images in [0, 255], (height, width)) -> images in [0, 255], such as `evaluation.resize.tf1` for FID as
    first published. Before it pixels are rounded to the 256 levels of a saved picture, as published numbers are of
    pictures; after it they become ``(x - 128) / 128``. Grey is repeated to three channels.

    The probabilities are the softmax of the logits *without bias*: the graph of 2015 that Salimans et al. release
    multiplies pool3 with the weights only, so does torch-fidelity (``logits_unbiased``), and published IS is of that.
    Raises ValueError for another number of channels.
    """

    def run(images: Array) -> dict[str, Array]:
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"inception takes images [n, height, width, 1 or 3], got shape {images.shape}")
        pixels = resize(to_uint8(images), SIZE)
        pixels = jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))
        return forward(params, (pixels - 128.0) / 128.0)

    return (lambda images: run(images)["features"]), (lambda images: nn.softmax(run(images)["logits_unbiased"]))


@dataclass(frozen=True)
class Weights:
    """Parameters of `forward`; identity: SHA-256 of their file (64 hex digits); is_published: it is the file of FID."""

    params: Params
    identity: str
    is_published: bool

    @property
    def name(self) -> str:
        """What a feature net of these weights is called: only the published ones give a FID."""
        return "inception-v3-fid" if self.is_published else f"inception-v3-{self.identity[:8]}"


def load_weights(path: str | Path | None = None, url: str = URL) -> Weights:
    """Weights from a file of torch.save; with None the published one, fetched once into the user's cache.

    path: the published file, or weights of your own for the same network; those are accepted, but with
    `is_published` False. url: where to fetch from when the cache ($XDG_CACHE_HOME/jaxgan, or ~/.cache/jaxgan) has
    no such file; about 95 MB.

    Raises OSError when a file cannot be read or had, saying what to do; ValueError for one that is not these weights.
    """
    if path is None:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgan" / FILE
        if not path.exists():
            _fetch(url, path)
        if not _sha256(path).startswith(PUBLISHED_SHA256):
            raise ValueError(f"{path} is damaged: its SHA-256 does not begin with {PUBLISHED_SHA256}; delete it")
    path = Path(path)
    identity = _sha256(path)
    return Weights(from_torch(read_state(path)), identity, identity.startswith(PUBLISHED_SHA256))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, path: Path) -> None:
    """Downloads the published file; it appears under its name whole and checked, or not at all."""
    advice = f"get {FILE} from {URL} and pass its path, or put it at {path}"
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=60) as response,
            tempfile.NamedTemporaryFile(dir=path.parent, prefix=".inception-", delete=False) as file,
        ):
            temporary = Path(file.name)
            announced = response.headers.get("Content-Length")
            received = 0
            while part := response.read(1 << 20):
                received += len(part)
                if received > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES} bytes")
                file.write(part)
        if announced is not None and received != int(announced):
            raise OSError(f"cut off after {received} of {announced} bytes")
        found = _sha256(temporary)
        if not found.startswith(PUBLISHED_SHA256):
            raise OSError(f"SHA-256 {found[:8]}..., not {PUBLISHED_SHA256}...")
        temporary.replace(path)
    except (OSError, ValueError, HTTPException) as error:
        raise OSError(f"could not download the Inception-v3 weights from {url} ({error}): {advice}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
