"""What the latent space of a DCGAN on 8x8 digits knows: smooth paths, arithmetic, directions, inversion.

    python experiments/latent_space.py            three seeds with and without classes, about five minutes on one core

Everything is measured against what would be there without structure: straight paths, random directions of equal
length, and the latents of the generator's own samples.

- Path length: pixels in [-1, 1] (Euclidean) along 32 steps between 200 pairs of latents, along the sphere and along the
  straight line (White 2016, arXiv 1609.04468), and the same in the classifier's features.
- Arithmetic: the difference of the means of two tenths of 2,000 samples, added to fresh latents (Radford et al. 2016,
  arXiv 1511.06434); the share of the results that are among the tenth that is most so. Without classes also
  "3:thick" + "8" - "3", which asks for thick eights.
- Directions: rise of a score over 4 steps, in deviations of that score over samples; change of pixels a step, as a
  multiple of that of random directions, of the first component (GANSpace) and of the first factor (SeFa).
- Inversion: mean squared error of 32 held-out images and of 32 own samples, 8 restarts of 300 steps of Adam.
"""

import argparse
import tempfile
import time
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds

import jaxgan
from jaxgan.arrays import to_float, to_uint8
from jaxgan.evaluation.features import features
from jaxgan.explore.arithmetic import Arithmetic, arithmetic
from jaxgan.explore.inversion import Inversion, invert
from jaxgan.explore.space import Explorer, explorer
from jaxgan.explore.walks import find, score_change, walk
from jaxgan.latent import arc_length, lerp, slerp
from jaxgan.recipes import pictures
from jaxgan.training.parallel import configure_backend

SYSTEMS: dict[str, dict[str, Any]] = {"dcgan": {}, "dcgan --conditional no": {"conditional": "no"}}
TRAINED: dict[str, Any] = {"steps": 2000, "log_every": 500, "sample_every": 0, "save_every": 0, "evaluate_samples": 500}
ENDS = {"thick": "thin", "slanted-right": "slanted-left", "wide": "narrow"}
STRENGTHS = (0.0, 1.0, 2.0)
SCORES = ("thickness", "slant", "width")


def main() -> None:
    flags = arguments(__doc__ or "", seeds=3).parse_args()
    began = time.perf_counter()
    configure_backend()
    rows: list[Row] = []
    shown: dict[str, Any] = {}
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as outdir:
        for system, values in SYSTEMS.items():
            trained = jaxgan.train(
                "dcgan", seeds=flags.seeds, outdir=outdir, quiet=True, **TRAINED | values | _reductions(flags)
            )
            found = []
            for seed in range(flags.seeds):
                member = trained if flags.seeds == 1 else jaxgan.load(trained.directory, member=seed)
                found.append(measure(explorer(member), _sizes(flags), shown if seed == 0 else {}))
                line = "  ".join(f"{name} {value:.4g}" for name, value in found[-1].items())
                print(f"{system}, seed {seed}: {line}", flush=True)
            rows += [over_seeds(system, name, [one[name] for one in found]) for name in found[0]]
            details[system] = found
    protocol = "preset cpu of dcgan on 8x8 digits, 2,000 steps, final checkpoint, 2,000 samples"
    finish("latent_space", None, protocol, rows, began, flags, details)
    if not (flags.quick or flags.smoke):
        picture(shown)


def measure(run: Explorer, sizes: dict[str, int], shown: dict[str, Any]) -> dict[str, float]:
    """All numbers of one trained generator by name; `shown` is given what the picture needs."""
    n = sizes["n"]
    found = smoothness(run, sizes["pairs"], sizes["steps"])
    for plus, minus in ENDS.items():
        one = arithmetic(run, [plus], [minus], STRENGTHS, n)
        found |= _shares(plus, one)
        if plus == "slanted-right":
            shown["slanted-right - slanted-left"] = one
    if sizes["classes"] and not run.space.told:
        one = arithmetic(run, ["3:thick", "8"], ["3"], STRENGTHS, n)
        found |= _shares("3:thick + 8 - 3", one)
        shown["3:thick + 8 - 3"] = one
    supervised = find(run, "supervised", scores=SCORES, n=n)
    for score, vector in zip(SCORES, supervised.vectors, strict=True):
        along, random, deviation = score_change(run, score, vector, [-2.0, 2.0], n=n)
        found[f"rise of {score}, supervised"] = float(along[1] - along[0]) / deviation
        found[f"rise of {score}, random directions"] = float(random[1] - random[0]) / deviation
    for method in ("pca", "factorisation"):
        first = find(run, method, 4, n=n)
        found[f"change of pixels, {method}"] = float(first.moved[0]) / first.random_moved
    shown["supervised"] = walk(run, supervised.vectors, np.linspace(-3, 3, 9), 1)[:, 0]
    inverted = inversions(run, sizes["images"], sizes["inversion_steps"])
    for name, ended in inverted.items():
        found[f"error of inversion, {name}"] = float(ended.errors.mean())
        found[f"error before, {name}"] = float(ended.start_errors.mean())
    shown["inversion"] = inverted["test images"]
    return found


def smoothness(run: Explorer, pairs: int, steps: int) -> dict[str, float]:
    """Mean lengths of the paths of outputs, by both ways between the same latents; classes are kept along each path."""
    latents, told = run.draw(0, 8, 2 * pairs)
    label = None if told is None else np.tile(told[:pairs], steps)
    fractions = np.linspace(0.0, 1.0, steps, dtype=np.float32)
    net, found = run.feature_net(), {}
    for name, path in (("slerp", slerp), ("lerp", lerp)):
        places = path(jnp.asarray(latents[:pairs]), jnp.asarray(latents[pairs:]), fractions)
        images = run.outputs(np.asarray(places).reshape(steps * pairs, -1), label)
        for seen, values in (("pixels", images), ("features", features(net, images))):
            lengths = arc_length(jnp.asarray(values).reshape(steps, pairs, -1))
            found[f"path length in {seen}, {name}"] = float(lengths.mean())
    for seen in ("pixels", "features"):
        ways = [found[f"path length in {seen}, {name}"] for name in ("slerp", "lerp")]
        found[f"path length in {seen}, slerp over lerp"] = ways[0] / ways[1]
    return found


def inversions(run: Explorer, n: int, steps: int) -> dict[str, Inversion]:
    data = run.data()
    assert isinstance(data.test_image, np.ndarray) and data.test_label is not None
    real = np.asarray(to_float(jnp.asarray(data.test_image[:n])))
    latents, told = run.draw(0, 9, n)
    own = run.outputs(latents, told)
    search = partial(invert, run, steps=steps)
    return {"test images": search(real, data.test_label[:n]), "own samples": search(own, told)}


def _shares(name: str, found: Arithmetic) -> dict[str, float]:
    shares = {}
    for strength, share, random in zip(found.strengths, found.shares, found.random_shares, strict=True):
        if strength:
            shares[f"share {name}, {strength:g} times"] = float(share)
            shares[f"share {name}, {strength:g} times, random directions"] = float(random)
        else:
            shares[f"share {name}, nothing added"] = float(share)
    return shares


def picture(shown: dict[str, Any]) -> None:
    """Draws results/latent_space.png, of the system without classes, seed 0."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    def columns(found: Arithmetic) -> np.ndarray:
        # results beside the same latents along random directions
        results, random = (np.asarray(to_uint8(x)) for x in (found.results, found.random))
        gap = np.zeros_like(results[:, :1])
        return pictures.sheet(list(np.concatenate([results, gap, random], axis=1)))

    inverted = shown["inversion"]
    left, right = (np.asarray(to_uint8(x[:20])) for x in (inverted.images, inverted.reconstructions))
    panels = {
        "slanted-right - slanted-left, added 0, 1 and 2 times | random": columns(shown["slanted-right - slanted-left"]),
        "3:thick + 8 - 3, added 0, 1 and 2 times | random": columns(shown["3:thick + 8 - 3"]),
        "supervised: thickness, slant, width, from -3 to 3": pictures.sheet(list(to_uint8(shown["supervised"]))),
        "held-out digits and their inversions": pictures.beside(left, right, in_a_row=5),
    }
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), height_ratios=(2, 1), layout="constrained")
    for place, (title, sheet) in zip(axes.flat, panels.items(), strict=True):
        place.imshow(sheet[..., 0], cmap="gray", vmin=0, vmax=255)
        place.set_title(title, fontsize=9)
        place.axis("off")
    figure.savefig(RESULTS / "latent_space.png", dpi=110)


def _sizes(flags: argparse.Namespace) -> dict[str, int]:
    if flags.smoke:
        # two steps of training make no classes
        return {"n": 60, "pairs": 3, "steps": 3, "images": 2, "inversion_steps": 2, "classes": 0}
    if flags.quick:
        return {"n": 1000, "pairs": 50, "steps": 16, "images": 8, "inversion_steps": 100, "classes": 1}
    return {"n": 2000, "pairs": 200, "steps": 33, "images": 32, "inversion_steps": 300, "classes": 1}


def _reductions(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.smoke:
        widths = {"generator_width": 4, "discriminator_width": 4}
        return {"steps": 2, "batch": 8, "evaluate_samples": 50, "features": "random-conv", **widths}
    if flags.quick:
        return {"steps": 300, "evaluate_samples": 200}
    return {}


if __name__ == "__main__":
    main()
