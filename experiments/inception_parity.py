"""Our Inception-v3 of FID against torch-fidelity's own, layer by layer, on random weights.

    python experiments/inception_parity.py            needs torch, torchvision and torch-fidelity
    python experiments/inception_parity.py --quick    one seed, one size of images

Weights are drawn, saved with torch.save, and read by both sides; the layers, features, logits and
probabilities of the same uint8 images, through TensorFlow 1's resizing, are compared. So what is shown is
that architecture, folding of batch norm, resizing, reading and conversion agree; not that the published
weights are what their name says (their hash says that), nor any FID. Kernels are of He's variance and sum to
zero over their inputs: otherwise the positive means of ReLUs add up and all images look alike at depth.

The reference is their network in float64; beside our error stands that of their own float32, which is what
rounding alone does. An error is the largest absolute difference over the root mean square of the layer (for
"features, of their deviation": over the deviation of each feature across images, averaged). Speed is end to end
from uint8, in turns in one process; it is no benchmark where the load average, written beside it, exceeds the
number of cores.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from contract import Row, arguments, finish

from jaxgan.arrays import Array, to_float
from jaxgan.evaluation.features import FeatureNet, features
from jaxgan.evaluation.resize import tf1
from jaxgan.nets.inception import BLOCKS, SIZE, Params, extractors, forward, from_torch, load_weights, state_shapes
from jaxgan.training.parallel import configure_backend

PEERS = ("torch", "torchvision", "torch_fidelity")
NEEDED = "torch-fidelity is not installed, and parity is with it: pip install torch-fidelity"
METRIC = "largest error / rms"
RATE = "images/s"
OUTPUTS = ("features", "logits_unbiased", "logits")
SIZES = ((64, 48), (375, 500))
NUM_IMAGES = 2
BATCH = 8


def main() -> None:
    parser = arguments(__doc__ or "", seeds=2)
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {BATCH} images for the speed (default 5)")
    flags = parser.parse_args()
    began = time.perf_counter()
    configure_backend()
    sizes = SIZES[:1] if flags.smoke or flags.quick else SIZES
    seeds = 1 if flags.smoke or flags.quick else flags.seeds
    rounds = 1 if flags.smoke else flags.rounds
    batch = 2 if flags.smoke else BATCH
    with_peer = all(find_spec(name) for name in PEERS)
    details: dict[str, Any] = {"sizes": sizes, "seeds": seeds}
    if with_peer:
        rows = compare(sizes, seeds, batch, rounds)
        details["peers"] = {name: metadata.version(name) for name in PEERS}
    elif flags.smoke:
        # without the peer only our side is tried
        print(NEEDED)
        rows = [Row("layers and features", METRIC, None), speed("jaxgan", ours(from_torch(random_state(0))), batch, 1)]
    else:
        raise SystemExit(NEEDED)
    load, cores = os.getloadavg()[0], os.cpu_count()
    details |= {"load_average": load, "cores": cores}
    protocol = (
        f"seeds of random weights: {seeds}; {NUM_IMAGES} images of each size, {sizes}; speed: {batch} images of 32x32 "
        f"at once, median of {rounds} rounds in turns, load average {load:.1f} on {cores} cores"
    )
    finish("inception_parity", None, protocol, rows, began, flags, details)


def compare(sizes: tuple[tuple[int, int], ...], seeds: int, batch: int, rounds: int) -> list[Row]:
    import torch

    largest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            # one seed in two is in the format of the published file
            path = Path(folder) / f"{seed}.pth"
            state = {name: torch.from_numpy(value) for name, value in random_state(seed).items()}
            torch.save(state, path, _use_new_zipfile_serialization=bool(seed % 2))
            params = load_weights(path).params
            peer, exact = torch_fidelity(path), torch_fidelity(path, double=True)
            for size in sizes:
                images = pictures(size, seed, NUM_IMAGES)
                expected = exact(images)
                for side, found in (("jaxgan", everything(params, images)), ("torch-fidelity", peer(images))):
                    for label, error in errors(found, expected).items():
                        key = f"{label} ({side})"
                        largest[key] = max(largest.get(key, 0.0), error)
            print(f"seed {seed}: done", flush=True)
        rows = [Row(name, METRIC, value, n_seeds=seeds) for name, value in sorted(largest.items(), key=_order)]
        racers = {"jaxgan": ours(params), "torch-fidelity": peer}
        return rows + race(racers, batch, rounds)


def _order(item: tuple[str, float]) -> tuple[int, str]:
    name = item[0].split(" (")[0]
    return [*BLOCKS, *OUTPUTS, "probabilities"].index(name.split(",")[0]), item[0]


def errors(found: dict[str, Any], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest error of every layer, over the scale of what was expected there."""
    made = {}
    for name, value in expected.items():
        error = np.abs(np.asarray(found[name], np.float64) - value).max()
        made[name] = float(error / np.sqrt(np.mean(value**2)))
        if name == "features":
            made["features, of their deviation"] = float(error / value.std(axis=0).mean())
    return made


@jax.jit
def _everything(params: Params, images: Array) -> dict[str, Array]:
    made = forward(params, (tf1(images, SIZE) - 128.0) / 128.0)
    extract, classify = extractors(params, tf1)
    floats = to_float(images)
    return made | {"features": extract(floats), "probabilities": classify(floats)}


def everything(params: Params, images: np.ndarray) -> dict[str, Array]:
    with jax.default_matmul_precision("highest"):
        return _everything(params, images)


def ours(params: Params) -> Any:
    extract, classify = extractors(params, tf1)
    net = FeatureNet("inception-v3-random", extract, classify, "random")
    return partial(features, net)


def torch_fidelity(path: Path, double: bool = False) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Their network with the weights of a file, as a function of uint8 images that returns all layers.

    double: float64 behind the resizing, whose float32 positions are part of what is imitated.
    """
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    names = ["2048", "logits_unbiased", "logits"]
    peer = FeatureExtractorInceptionV3("parity", names, str(path))
    if double:
        # not by their feature_extractor_internal_dtype: in 0.4.0 "float64" stands for float32 there
        peer.double()
        peer.Conv2d_1a_3x3.register_forward_pre_hook(lambda _module, inputs: tuple(x.double() for x in inputs))
    layers: dict[str, Any] = {}
    for name in BLOCKS:
        getattr(peer, name).register_forward_hook(
            lambda _module, _input, output, name=name: layers.update({name: output})
        )

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = peer(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
            probabilities = torch.softmax(outputs[1].double(), dim=1).numpy()
        assert layers["Mixed_7c"].dtype == (torch.float64 if double else torch.float32)
        made = {name: layers[name].numpy().transpose(0, 2, 3, 1) for name in BLOCKS}
        made |= {name: output.numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}
        return made | {"probabilities": probabilities}

    return run


def race(racers: dict[str, Any], batch: int, rounds: int) -> list[Row]:
    """The median rate of each, measured in turns."""
    images = pictures((32, 32), 0, batch)
    rates: dict[str, list[float]] = {name: [] for name in racers}
    for turn in range(rounds + 1):
        for name, run in racers.items():
            began = time.perf_counter()
            run(images)
            # the first turn compiles
            if turn:
                rates[name].append(batch / (time.perf_counter() - began))
    rows = [_rate(name, found) for name, found in rates.items()]
    first, *others = rates
    rows += [_rate(f"{first} / {other}", np.divide(rates[first], rates[other]), "ratio") for other in others]
    return rows


def speed(name: str, run: Any, batch: int, rounds: int) -> Row:
    return race({name: run}, batch, rounds)[0]


def _rate(name: str, found: Any, metric: str = RATE) -> Row:
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    return Row(name, metric, float(middle), float(high - low) / 2, "half the interquartile range over rounds")


def random_state(seed: int) -> dict[str, np.ndarray]:
    """A state dict with random weights under which activations keep their size and images stay apart."""
    generator = np.random.default_rng(seed)
    state = {}
    for name, shape in state_shapes().items():
        if name.endswith("conv.weight"):
            value = generator.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))
            value -= value.mean(axis=(1, 2, 3), keepdims=True)
        elif name == "fc.weight":
            value = generator.normal(size=shape) / np.sqrt(shape[1])
        elif name.endswith(("bn.weight", "running_var")):
            value = generator.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * generator.normal(size=shape)
        state[name] = value.astype(np.float32)
    return state


def pictures(size: tuple[int, int], seed: int, n: int) -> np.ndarray:
    """uint8 [n, *size, 3]: patches of colour under noise."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (n, 5, 5, 3))
    rows, columns = (np.arange(side) * 5 // side for side in size)
    noise = generator.integers(-30, 31, (n, *size, 3))
    return np.clip(patches[:, rows][:, :, columns] + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
