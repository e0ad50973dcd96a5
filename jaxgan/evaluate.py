"""Measures what was trained, and images whoever made them: what `jaxgan evaluate` and the end of a training call."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import recipes
from jaxgan.arrays import Array, Key, to_uint8
from jaxgan.config import Options, RequestError
from jaxgan.data.catalogue import KNOWN
from jaxgan.data.images import Images, from_arrays
from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.neighbours import nearest
from jaxgan.evaluation.path_length import path_length
from jaxgan.latent import slerp
from jaxgan.recipes import pictures
from jaxgan.recipes.dataset import open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.folder import BrokenMember, Place, Run, check_unchanged, load, read_description
from jaxgan.recipes.judging import made_in_batches, weights_of
from jaxgan.recipes.protocol import Protocol, chosen, in_memory, read_images, refer
from jaxgan.recipes.protocol import evaluate as judge
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import write_picture
from jaxgan.training.recipe import Recipe

BY_DEFAULT = Protocol()
NEIGHBOUR_ROWS, NEIGHBOURS = 8, 6
PATHS = 1000


def evaluate(
    directory: Path,
    features: str | None = None,
    checkpoint: str = "both",
    member: int | None = None,
    protocol: Protocol = BY_DEFAULT,
    reference: str | None = None,
    resizer: str = "tf1",
    data_dir: str | None = None,
) -> dict[str, Any]:
    """The evaluations of a run's recipe: {"run", "checkpoint", "step", "seed", evaluation: values}.

    Of a system that generates images, "images" is the row of `recipes.protocol.evaluate`, against the run's own
    data or against `reference` (as ``--data`` names data sets, or a path).
    checkpoint: "final", "best", a step, or "both": the final one, with the same of the best under "best" where
    there is one (of a population, by the mean of its members). member: of a population; None for all of them:
    {"run", "checkpoint", "step", "seed", "members": [{"member", "seed", "values", evaluation: values}]}, those left
    out whose weights are not finite.
    """
    one = partial(
        _evaluate,
        directory,
        features,
        protocol=protocol,
        reference=reference,
        resizer=resizer,
        data_dir=data_dir,
    )
    places = read_description(directory).members
    if checkpoint == "both":
        found = _evaluate_members(one, places, "final") if places and member is None else one("final", member)
        best = Checkpoints(directory / "checkpoints").best()
        if best == found["step"]:
            found["best"] = {**found, "checkpoint": "best"}
        elif best is not None:
            both = _evaluate_members(one, places, "best") if places and member is None else one("best", member)
            found["best"] = both
        return found
    return _evaluate_members(one, places, checkpoint) if places and member is None else one(checkpoint, member)


def _evaluate_members(one: Callable[..., dict[str, Any]], places: Sequence[Place], checkpoint: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for place in places:
        try:
            found = one(checkpoint, place.member)
        except BrokenMember as error:
            print(error, file=sys.stderr, flush=True)
            continue
        head = {name: found.pop(name) for name in ("run", "checkpoint", "step", "seed")}
        rows.append({"member": place.member, "seed": place.seed, "values": dict(place.values), **found})
    if not rows:
        raise RequestError(f"no member has finite weights at checkpoint {checkpoint}")
    return {**head, "members": rows}


def _evaluate(
    directory: Path,
    features: str | None,
    checkpoint: str,
    member: int | None,
    protocol: Protocol,
    reference: str | None,
    resizer: str,
    data_dir: str | None,
) -> dict[str, Any]:
    run = load(directory, checkpoint, member)
    options = replace(
        run.options,
        evaluate_samples=protocol.n or run.options.evaluate_samples,
        features=run.options.features if features is None else features,
        data_dir=run.options.data_dir if data_dir is None else data_dir,
    )
    data = open_data(options)
    check_unchanged(directory, run.data, data)
    recipe = recipes.find(run.recipe_name).make(run.config, options, data)
    if (protocol.metrics or reference is not None) and "images" not in recipe.evaluations:
        raise RequestError(f"{directory} is a run of {run.recipe_name}: --metrics and --reference are for images")
    found: dict[str, Any] = {}
    for name, evaluation in recipe.evaluations.items():
        if name == "images" and isinstance(data, Images):
            row = _judge(run, recipe, data, options, protocol, reference, resizer)
            found[name] = row | {"weights": weights_of(run.state)}
        else:
            found[name] = dict(evaluation(run.state, jax.random.key(protocol.seed)))
    head = {"run": str(directory), "checkpoint": checkpoint, "step": run.step}
    return {**head, **({} if run.member is None else {"member": run.member}), "seed": protocol.seed, **found}


def _judge(
    run: Run,
    recipe: Recipe,
    images: Images,
    options: Options,
    protocol: Protocol,
    reference: str | None,
    resizer: str,
) -> dict[str, Any]:
    """The row of one checkpoint; training data are those of the run, whatever it is compared with."""
    compared = images if reference is None else _open_reference(reference, options.data_dir)
    net = feature_net(options.features, compared, resizer)
    if compared.size != images.size and not net.resizer:
        raise RequestError(f"--reference {reference} has images of {compared.size}, and the run makes {images.size}")
    metrics = protocol.chosen(net)
    assert recipe.prior is not None and recipe.generate is not None
    key = jax.random.key(protocol.seed)
    fakes = made_in_batches(recipe.generate, recipe.prior, run.state, key, options.evaluate_samples)
    path = partial(_path_length, run, recipe, net, jax.random.fold_in(key, 1))
    return judge(refer(compared, net, protocol.split, metrics, images), fakes, metrics, protocol.seed, path)


def _path_length(run: Run, recipe: Recipe, net: FeatureNet, key: Key) -> tuple[float, float]:
    """Along spherical paths in Z; a conditional system keeps the class along each path."""

    # codes lie in the latent itself, and are walked through with it
    told = isinstance(jax.eval_shape(lambda key: run.prior(key, 2, None), key), tuple)

    def generate(latents: Array) -> Array:
        if not told:
            return run.generate(run.state, latents, 1.0)
        label = jnp.arange(len(latents) // 2, dtype=jnp.int32) % recipe.num_classes
        return run.generate(run.state, (latents, jnp.tile(label, 2)), 1.0)

    def prior(key: Key, n: int) -> Array:
        latent: Array = jax.tree.leaves(run.prior(key, n, None))[0]
        return latent

    def distance(a: Array, b: Array) -> Array:
        return jnp.sum(jnp.square(net.extract(a) - net.extract(b)), axis=-1)

    return path_length(generate, distance, prior, slerp, key, num_samples=PATHS)


def evaluate_images(
    images: Path,
    reference: str,
    protocol: Protocol,
    features: str = "auto",
    resizer: str = "tf1",
    data_dir: str | None = None,
) -> dict[str, Any]:
    """The row of a folder or archive of images, whoever made them, against a data set, a folder or an archive.

    What they were learned from is taken to be the reference.
    """
    generated = read_images(images)
    compared = _open_reference(reference, data_dir)
    net = feature_net(features, compared, resizer)
    if compared.size != generated.shape[1:] and not net.resizer:
        raise RequestError(
            f"{images} has images of {tuple(generated.shape[1:])}, and {reference} of {compared.size}: only Inception "
            "and DINOv2 take any size"
        )
    metrics = protocol.chosen(net)
    fakes = chosen(generated, protocol.n, protocol.seed)
    row = judge(refer(compared, net, protocol.split, metrics), fakes, metrics, protocol.seed)
    return {"images": str(images), **row}


def draw_evidence(directory: Path, n: int = 500) -> None:
    """Pictures that no number replaces, of the final checkpoint: samples beside their nearest training images on the
    feature net (neighbours.png), and samples sorted by the class that the classifier sees (classes.png)."""
    run = load(directory)
    images = open_data(run.options)
    if not isinstance(images, Images):
        return
    net = feature_net(run.options.features, images)
    samples = np.asarray(to_uint8(run.sample(n)))
    write_picture(directory / "neighbours.png", _beside_nearest(samples[:NEIGHBOUR_ROWS], images, net))
    if net.classify is not None and images.num_classes > 1:
        seen = probabilities(net, samples)
        # Inception's classes are not those of the data
        if seen.shape[1] == images.num_classes:
            sheet = pictures.by_class(samples, seen.argmax(-1), images.num_classes)
            write_picture(directory / "classes.png", sheet)


def draw_neighbours(run: Run, out: Path, rows: int, seed: int, net: str | None = None) -> None:
    """Writes samples beside their nearest training images on a feature net, by default the run's own, as a PNG."""
    images, samples = open_data(run.options), run.sample(rows, seed)
    if not isinstance(images, Images):
        raise RequestError(f"{run.directory} is a run of {run.recipe_name}, which makes points: this is for images")
    check_unchanged(run.directory, run.data, images)
    seen_by = feature_net(run.options.features if net is None else net, images)
    write_picture(out, _beside_nearest(np.asarray(to_uint8(samples)), images, seen_by))


def _beside_nearest(samples: np.ndarray, images: Images, net: FeatureNet) -> np.ndarray:
    _, found = nearest(features(net, samples), refer(images, net).real, NEIGHBOURS)
    return pictures.neighbours(samples, np.stack([[images.image[int(i)] for i in row] for row in found]))


def _open_reference(reference: str, data_dir: str | None) -> Images:
    """A data set by name, folder:PATH or npz:PATH; or a path: of a run (then its samples), a folder or an archive."""
    path = Path(reference)
    named = reference in KNOWN or ":" in reference
    if not named and (path / "config.json").exists():
        run = load(path)
        if "images" not in run.recipe.evaluations:
            raise RequestError(f"--reference {reference} is a run of {run.recipe_name}: it makes a set of points")
        return from_arrays(path.resolve().name, np.asarray(to_uint8(run.sample(run.options.evaluate_samples))))
    if not named and (path.is_dir() or path.suffix == ".npz"):
        return from_arrays(path.stem, in_memory(read_images(path)))
    data = open_data(Options(data=reference, data_dir=data_dir))
    if not isinstance(data, Images):
        raise RequestError(f"--reference {reference} is a set of points, not of images")
    return data
