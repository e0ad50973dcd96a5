"""DINOv2: vision transformers trained without labels, whose class token is a feature of a whole picture.

The networks of the official repository, ViT-S/14, B/14, L/14 and g/14, with or without registers, from a file that the
user has (``dinov2_vitl14_pretrain.pth``). They are not those of DINO (2021, patches of 16 or 8, no layer scale)
nor of DINOv3 (2025, rotary positions).

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", 2023, arXiv 2304.07193; Darcet et al.,
"Vision Transformers Need Registers", 2023, arXiv 2309.16588. Names of weights are those of the released code, which we
follow in what the papers leave out. Stein et al., 2023, arXiv 2306.04675, judge generative models by these features:
their FD-DINOv2 is a Frechet distance on those of ViT-L/14 without registers.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, to_uint8
from jaxgan.nets.torch_weights import checked_state, read_state

PATCH = 14
GRID = 16
SIZE = (PATCH * GRID, PATCH * GRID)
HEAD_WIDTH = 64
LAYER_NORM_EPSILON = 1e-6
POSITION_OFFSET = 0.1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
REFUSAL = "not the weights of a DINOv2 vision transformer"

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Architecture:
    """Sizes of one of the networks.

    width: of a token; heads have 64 of it each. hidden: width inside the feed-forward layers. grid: patches a side
    for which positions were learned (37 in the released files: pictures of 518). is_gated: feed-forward layers are
    SwiGLU (g/14), not GELU.
    """

    width: int
    depth: int
    hidden: int
    grid: int
    num_registers: int = 0
    is_gated: bool = False

    @property
    def name(self) -> str:
        """As released: "vits14", "vitl14-reg4"; "vit-WIDTHxDEPTH" for a size that was not."""
        size = RELEASED.get((self.width, self.depth, self.hidden, self.is_gated), f"vit-{self.width}x{self.depth}")
        return f"{size}-reg{self.num_registers}" if self.num_registers else size


RELEASED = {
    (384, 12, 1536, False): "vits14",
    (768, 12, 3072, False): "vitb14",
    (1024, 24, 4096, False): "vitl14",
    (1536, 40, 4096, True): "vitg14",
}


def forward(params: Params, images: Array) -> Array:
    """Tokens after the last layer norm, float32 [n, 1 + registers + 256, width]: class, registers, patches row by row.

    images: float32 [n, 224, 224, 3], normalised by ImageNet's mean and deviation (see `extractors`); params: of
    `from_torch`. The class token ``[:, 0]`` is ``x_norm_clstoken`` of the released code.
    Matrix products run at the highest precision. Each image is treated alone. Raises ValueError for another shape.
    """
    if images.ndim != 4 or images.shape[1:] != (*SIZE, 3):
        raise ValueError(f"dinov2 takes images [n, {SIZE[0]}, {SIZE[1]}, 3], got shape {images.shape}")
    n, tokens = len(images), params["tokens"]
    with jax.default_matmul_precision("highest"):
        patches = images.reshape(n, GRID, PATCH, GRID, PATCH, 3).swapaxes(2, 3).reshape(n, GRID * GRID, -1)
        patches = _linear(params["patch"], patches) + params["positions"][None]
        x = jnp.concatenate([jnp.broadcast_to(tokens[None], (n, *tokens.shape)), patches], axis=1)
        # one block compiled for all, so that the program does not grow with depth
        x, _ = jax.lax.scan(lambda x, block: (apply_block(block, x), None), x, params["blocks"])
        return _normalise(params["norm"], x)


def apply_block(block: Params, x: Array) -> Array:
    """One pre-norm block, attention and then a feed-forward layer: x [n, tokens, width] -> the same shape."""
    n, length, width = x.shape
    qkv = _linear(block["attn.qkv"], _normalise(block["norm1"], x))
    query, key, value = jnp.moveaxis(qkv.reshape(n, length, 3, width // HEAD_WIDTH, HEAD_WIDTH), 2, 0)
    weights = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", query, key) / math.sqrt(HEAD_WIDTH))
    attended = jnp.einsum("nhqk,nkhd->nqhd", weights, value).reshape(x.shape)
    x = x + _linear(block["attn.proj"], attended)
    normal = _normalise(block["norm2"], x)
    if "mlp.w12" in block:
        gate, hidden = jnp.split(_linear(block["mlp.w12"], normal), 2, axis=-1)
        return x + _linear(block["mlp.w3"], jax.nn.silu(gate) * hidden)
    # by the error function, not its tanh approximation
    hidden = jax.nn.gelu(_linear(block["mlp.fc1"], normal), approximate=False)
    return x + _linear(block["mlp.fc2"], hidden)


def _linear(part: Params, x: Array) -> Array:
    return x @ part["kernel"] + part["bias"].reshape(1, 1, -1)


def _normalise(part: Params, x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
    return centred / deviation * part["scale"].reshape(1, 1, -1) + part["bias"].reshape(1, 1, -1)


def position_matrix(before: int, after: int, antialias: bool) -> np.ndarray:
    """Weights float64 [after, before] that take learned positions to another grid along one side; rows sum to 1.

    They are not those of a picture's resizing but of ``torch.nn.functional.interpolate``, as the released code
    calls it. antialias False, for networks without registers: bicubic of Keys with a = -0.75, output i reads
    ``(i + 0.5) * before / (after + 0.1) - 0.5`` with borders repeated. The 0.1 was to keep a side from being rounded
    down, and moves every position a little; the weights were trained with it. antialias True, for those with
    registers: a = -0.5, no 0.1, the kernel widened by ``before / after`` when the grid shrinks, cut at the border
    and normalised. Equal grids are left as they are, 0.1 or not.
    """
    if before == after:
        return np.eye(after)
    matrix = np.zeros((after, before))
    scale = before / after if antialias else before / (after + POSITION_OFFSET)
    widened = max(scale, 1.0) if antialias else 1.0
    for i in range(after):
        centre = (i + 0.5) * scale - 0.5
        read = np.arange(math.ceil(centre - 2.0 * widened), math.floor(centre + 2.0 * widened) + 1)
        if antialias:
            read = read[(read >= 0) & (read < before)]
        weights = _cubic((read - centre) / widened, -0.5 if antialias else -0.75)
        np.add.at(matrix[i], np.clip(read, 0, before - 1), weights / weights.sum())
    return matrix


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = a * (((x - 5.0) * x + 8.0) * x - 4.0)
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def state_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the PyTorch state dict that `from_torch` takes."""
    width, hidden = architecture.width, architecture.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + architecture.grid**2, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if architecture.num_registers:
        shapes["register_tokens"] = (1, architecture.num_registers, width)
    wide, narrow = _feed_forward(architecture)
    linear = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        wide: (2 * hidden if architecture.is_gated else hidden, width),
        narrow: (width, hidden),
    }
    for i in range(architecture.depth):
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{part}"] = (width,)
        for part, shape in linear.items():
            shapes |= {f"blocks.{i}.{part}.weight": shape, f"blocks.{i}.{part}.bias": shape[:1]}
    return shapes


def _feed_forward(architecture: Architecture) -> tuple[str, str]:
    return ("mlp.w12", "mlp.w3") if architecture.is_gated else ("mlp.fc1", "mlp.fc2")


def architecture_of(state: Mapping[str, np.ndarray]) -> Architecture:
    """Sizes of the network whose state dict this is, read off a few of its shapes; `from_torch` checks the others.

    Raises ValueError for a state dict from which they cannot be read: what is missing, or of which shape.
    """

    def shape(name: str, wanted: str) -> tuple[int, ...]:
        if name not in state:
            raise ValueError(f"{REFUSAL}: {name} is missing")
        found = np.shape(state[name])
        if len(found) != wanted.count(",") + 1 or 0 in found:
            raise ValueError(f"{REFUSAL}: {name} is {found}, not ({wanted})")
        return found

    _, positions, width = shape("pos_embed", "1, 1 + patches, width")
    grid = math.isqrt(positions - 1)
    if grid < 1 or grid * grid != positions - 1:
        raise ValueError(f"{REFUSAL}: pos_embed has {positions} positions, not 1 and those of a square of patches")
    if width % HEAD_WIDTH:
        raise ValueError(f"{REFUSAL}: width {width} is not a multiple of {HEAD_WIDTH}, the width of a head")
    is_gated = "blocks.0.mlp.w3.weight" in state
    _, hidden = shape(f"blocks.0.mlp.{'w3' if is_gated else 'fc2'}.weight", "width, hidden")
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    registers = shape("register_tokens", "1, registers, width")[1] if "register_tokens" in state else 0
    return Architecture(width, depth, hidden, grid, registers, is_gated)


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Parameters of `forward`, float32, from the state dict of a released network, of any size (`architecture_of`).

    ``tokens`` [1 + registers, width], the first with its position; ``positions`` [256, width], taken from the grid
    they were learned for to 16x16 (`position_matrix`, antialiased where there are registers: the two kinds were
    released so); ``patch`` and ``norm``; and ``blocks``, where each array has a first axis over depth. Layer scale is
    folded into the linear layer before it. ``mask_token``, of training alone, is passed over.

    Raises ValueError naming what is missing, unexpected or of another shape, and for weights that are not finite.
    """
    architecture = architecture_of(state)
    expected = state_shapes(architecture)
    trained = {name: value for name, value in state.items() if name != "mask_token"}
    found = {name: value.astype(np.float32) for name, value in checked_state(trained, expected, REFUSAL).items()}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": found[f"{name}.weight"], "bias": found[f"{name}.bias"]}

    wide, narrow = _feed_forward(architecture)
    layer_scales = {"attn.qkv": "", "attn.proj": "ls1", wide: "", narrow: "ls2"}

    def block(i: int) -> dict[str, dict[str, np.ndarray]]:
        made = {name: norm(f"blocks.{i}.{name}") for name in ("norm1", "norm2")}
        for name, layer_scale in layer_scales.items():
            kernel, bias = found[f"blocks.{i}.{name}.weight"].T, found[f"blocks.{i}.{name}.bias"]
            scale = found[f"blocks.{i}.{layer_scale}.gamma"] if layer_scale else np.float32(1.0)
            made[name] = {"kernel": kernel * scale, "bias": bias * scale}
        return made

    width, grid = architecture.width, architecture.grid
    positions = found["pos_embed"][0]
    matrix = position_matrix(grid, GRID, antialias=architecture.num_registers > 0)
    moved = np.einsum("ri,cj,ijw->rcw", matrix, matrix, positions[1:].reshape(grid, grid, width), optimize=True)
    registers = found["register_tokens"][0] if architecture.num_registers else np.zeros((0, width))
    kernel = found["patch_embed.proj.weight"].transpose(2, 3, 1, 0).reshape(-1, width)
    params = {
        "tokens": np.concatenate([found["cls_token"][0] + positions[:1], registers]),
        "positions": moved.reshape(GRID * GRID, width),
        "patch": {"kernel": kernel, "bias": found["patch_embed.proj.bias"]},
        "blocks": jax.tree.map(lambda *parts: np.stack(parts), *map(block, range(architecture.depth))),
        "norm": norm("norm"),
    }
    return jax.tree.map(lambda value: np.ascontiguousarray(value, np.float32), params)


def extractors(
    params: Params, resize: Callable[[Array, tuple[int, int]], Array]
) -> tuple[Callable[[Array], Array], None]:
    """`extract` of a feature net, from float images [n, height, width, 1 or 3] in [-1, 1], and None: no classes.

    It returns the class token after the last layer norm, float32 [n, width].

    resize: (images in [0, 255], (height, width)) -> images in [0, 255], such as `evaluation.resize.clean`. Before it
    pixels are rounded to the 256 levels of a saved picture; the whole picture becomes 224x224 whatever its proportions,
    nothing is cut off; then ``(x / 255 - mean) / std`` with ImageNet's. Grey is repeated to three channels.

    The released evaluation of classifiers resizes the shorter side to 256 and cuts 224 from the middle: not this.
    Stein et al. take the whole picture, as here; their code resizes by Pillow's bicubic, in bytes by default
    (what is resized is rounded to levels) and in floats with ``--clean_resize``, which is `clean`.
    Raises ValueError for another number of channels.
    """

    def extract(images: Array) -> Array:
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"dinov2 takes images [n, height, width, 1 or 3], got shape {images.shape}")
        pixels = resize(to_uint8(images), SIZE)
        pixels = jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))
        mean, std = (jnp.asarray(values, jnp.float32).reshape(1, 1, 1, 3) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return forward(params, (pixels / 255.0 - mean) / std)[:, 0]

    return extract, None


@dataclass(frozen=True)
class Weights:
    """Parameters of `forward`; identity: SHA-256 of their file (64 hex digits); name: "dinov2-vits14-SHA8"."""

    params: Params
    identity: str
    name: str


def load_weights(path: str | Path) -> Weights:
    """Weights from a file of torch.save: one of the official repository, or of the same network trained by yourself.

    The name carries the first digits of the SHA-256, for numbers under different weights do not compare.

    Raises OSError when the file cannot be read; ValueError for one that is not such weights.
    """
    path = Path(path)
    with path.open("rb") as file:
        identity = hashlib.file_digest(file, "sha256").hexdigest()
    state = read_state(path)
    try:
        params = from_torch(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Weights(params, identity, f"dinov2-{architecture_of(state).name}-{identity[:8]}")
