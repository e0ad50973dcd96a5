"""Arithmetic in a latent space: means of chosen samples added and taken away, and whether it gives what was asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import to_uint8
from jaxgan.config import RequestError
from jaxgan.directions import mean_difference, random_directions
from jaxgan.evaluation.moments import ATTRIBUTES
from jaxgan.explore.space import Explorer, find_class
from jaxgan.recipes import pictures
from jaxgan.recipes.folder import Run
from jaxgan.training.log import write_picture

TAIL = 0.1
"""Share of the samples (of a class) that have an attribute: those with the largest score."""
FEWEST = 5
NEAR = 0.25
"""How far fresh latents around a place spread, as a share of how far the prior does."""


@dataclass(frozen=True)
class Selector:
    """Which samples are meant: of a class, with an attribute, or both."""

    text: str
    class_: int | None = None
    attribute: str | None = None


def read_selector(run: Run, text: str) -> Selector:
    """ "3" or a name, "thick", or "3:thick"."""
    name, colon, attribute = text.rpartition(":")
    if attribute in ATTRIBUTES:
        return Selector(text, find_class(run, name) if colon else None, attribute)
    try:
        return Selector(text, find_class(run, text), None)
    except RequestError:
        raise RequestError(
            f"{text!r} is neither an attribute ({', '.join(ATTRIBUTES)}) nor a class of the data "
            f"({', '.join(run.data['classes']) or 'which have none'}); both at once are CLASS:ATTRIBUTE"
        ) from None


@dataclass(frozen=True, eq=False)
class Operand:
    """A selector, whether it is added or taken away, how many samples it means, the picture of their mean latent
    [height, width, channel], and some of them [k, ...]."""

    text: str
    sign: int
    count: int
    mean: np.ndarray
    examples: np.ndarray


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """The outcome: shares [strengths] of results with what was asked for, along the direction and along random ones.

    direction: [dimension]. near: at which share of their distances from the mean fresh latents are around a place;
    None for a direction. asked: in words. results, random: pictures [rows, strengths, height, width, channel].
    """

    direction: np.ndarray
    near: float | None
    asked: str
    strengths: tuple[float, ...]
    num_results: int
    shares: np.ndarray
    random_shares: np.ndarray
    operands: tuple[Operand, ...]
    results: np.ndarray
    random: np.ndarray


def arithmetic(
    run: Explorer,
    plus: Sequence[str],
    minus: Sequence[str] = (),
    strengths: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 3.0),
    n: int = 2000,
    seed: int = 0,
    class_: int | None = None,
    rows: int = 6,
    examples: int = 6,
) -> Arithmetic:
    """Means of chosen samples' latents, added and taken away, and `n` pictures made with the result.

    As many added as taken away is a direction, and is added to fresh latents. Otherwise, as in "man with glasses -
    man + woman", it is a place, seen from the mean of all latents: strength 1 is there, 0 at the mean, and around are
    fresh latents at `NEAR` of their distances from the mean (Radford et al. 2016, arXiv 1511.06434, figure 7, add noise
    of that scale to theirs). In Z they are then put as far from the mean as latents are, because means lie where the
    generator was never trained; so strength 0 is fresh latents again.

    What was asked for is what remains when parts of `plus` and `minus` that are alike cancel: "3:thick" + "8" - "3"
    asks for thick eights. A result has an attribute where its score is above that of nine tenths of the samples (of the
    class that is asked for, or that it was told). The random directions are as long, another one for each result.
    """
    chosen = [(1, read_selector(run.run, text)) for text in plus] + [
        (-1, read_selector(run.run, text)) for text in minus
    ]
    if run.space.told and any(selector.class_ is not None for _, selector in chosen):
        raise RequestError(
            f"{run.run.recipe_name} is told its class, so that its latents hold none: choose attributes, and --class K"
        )
    asked_class, asked_attributes = _asked(run.run, chosen)
    latents, told = run.draw(seed, 0, n, class_)
    images = run.outputs(latents, told)
    groups = np.zeros(n, int) if told is None else told
    seen = run.probabilities(images).argmax(1) if any(s.class_ is not None for _, s in chosen) else None
    means, operands = [], []
    for sign, selector in chosen:
        among = np.ones(n, bool) if seen is None or selector.class_ is None else seen == selector.class_
        if selector.attribute is not None:
            scores = run.score(selector.attribute, images)
            limits = _limits(scores, groups, among)
            among &= scores >= np.vectorize(limits.get)(groups, np.inf)
        if among.sum() < FEWEST:
            raise RequestError(f"only {among.sum()} of {n} samples are {selector.text}: take more (--n)")
        label = None if told is None else told[among][:1]
        mean = run.outputs(latents[among].mean(axis=0, keepdims=True), label)[0]
        operands.append(Operand(selector.text, sign, int(among.sum()), mean, images[among][:examples]))
        means.append((sign, jnp.asarray(latents[among])))
    direction = np.asarray(mean_difference([m for s, m in means if s > 0], [m for s, m in means if s < 0]))
    # the same wherever the origin is, as it is not at the mean in W
    surplus, middle = sum(sign for sign, _ in means), latents.mean(axis=0)
    direction = direction - surplus * middle

    asked = np.ones(n, bool) if seen is None or asked_class is None else seen == asked_class
    limits_of = {a: _limits(run.score(a, images), groups, asked) for a in asked_attributes}
    starts, told = run.draw(seed, 1, n, class_)
    radius = float(np.linalg.norm(latents - middle, axis=1).mean())
    groups = np.zeros(n, int) if told is None else told
    length = float(np.linalg.norm(direction))
    others = np.asarray(random_directions(jax.random.fold_in(jax.random.key(seed), 2), n, starts.shape[1], length))

    def share(images: np.ndarray) -> float:
        has = np.ones(n, bool) if asked_class is None else run.probabilities(images).argmax(1) == asked_class
        for attribute, limits in limits_of.items():
            has &= run.score(attribute, images) >= np.vectorize(limits.get)(groups, np.inf)
        return float(has.mean())

    def moved(by: np.ndarray) -> np.ndarray:
        if not surplus:
            return np.asarray(starts + by)
        away = np.float32(NEAR) * (starts - middle) + by
        if run.space.name == "z" and not run.run.recipe.codes:
            away *= radius / np.linalg.norm(away, axis=1, keepdims=True)
        return np.asarray(middle + away)

    results = [run.outputs(moved(np.float32(s) * direction), told) for s in strengths]
    random = [run.outputs(moved(np.float32(s) * others), told) for s in strengths]
    words = [] if asked_class is None else [str(run.run.data["classes"][asked_class])]
    return Arithmetic(
        direction,
        NEAR if surplus else None,
        ":".join([*words, *asked_attributes]),
        tuple(float(s) for s in strengths),
        n,
        np.array([share(images) for images in results]),
        np.array([share(images) for images in random]),
        tuple(operands),
        np.stack([images[:rows] for images in results], axis=1),
        np.stack([images[:rows] for images in random], axis=1),
    )


def _asked(run: Run, chosen: Sequence[tuple[int, Selector]]) -> tuple[int | None, tuple[str, ...]]:
    """The class, and the attributes, that remain of `plus` when what `minus` shares with it cancels."""

    def parts(wanted: int) -> Counter[int | str]:
        found = [part for sign, s in chosen if sign == wanted for part in (s.class_, s.attribute) if part is not None]
        return Counter(found)

    remaining = parts(1) - parts(-1)
    classes = [part for part in remaining if isinstance(part, int)]
    attributes = tuple(part for part in remaining if isinstance(part, str))
    scores = [ATTRIBUTES[attribute][0] for attribute in attributes]
    if not remaining:
        raise RequestError("nothing is asked for: all that --plus names --minus takes away again")
    if len(classes) > 1 or len(set(scores)) < len(scores):
        names = [str(run.data["classes"][c]) for c in classes] if len(classes) > 1 else attributes
        raise RequestError(f"no picture is {' and '.join(names)} at once: take one away with --minus")
    return (classes[0] if classes else None), attributes


def _limits(scores: np.ndarray, groups: np.ndarray, among: np.ndarray) -> dict[int, float]:
    """For each group the score that a share of `TAIL` of those among it reaches."""
    there = np.unique(groups[among])
    return {int(g): float(np.quantile(scores[among & (groups == g)], 1.0 - TAIL)) for g in there}


def table(found: Arithmetic, space: str) -> list[str]:
    """What came out, in lines: operands, and for each strength the shares with their standard errors over samples."""
    lines = [
        f"{'+' if o.sign > 0 else '-'} {o.text:16} {o.count:,} of {found.num_results:,} samples" for o in found.operands
    ]
    length = float(np.linalg.norm(found.direction))
    if found.near is None:
        lines.append(f"a direction of length {length:.3g} in {space}, added to {found.num_results:,} fresh latents")
    else:
        lines.append(
            f"a place in {space}, {length:.3g} from the mean of all latents, and {found.num_results:,} around it"
        )
    lines.append(f"{'strength':10}{'share ' + found.asked:24}along random directions")

    def shown(share: float) -> str:
        return f"{share:.4f} ± {np.sqrt(share * (1 - share) / found.num_results):.4f}"

    for strength, share, random in zip(found.strengths, found.shares, found.random_shares, strict=True):
        lines.append(f"{strength:<10g}{shown(share):24}{shown(random)}")
    return [*lines, "(± is over samples, not over training seeds)"]


def draw(found: Arithmetic, out: Path) -> None:
    """Writes the sheet: operands, results, and results along random directions."""
    operands = [pictures.apart(_uint8(o.mean), _uint8(o.examples)) for o in found.operands]
    write_picture(out, pictures.sheet(operands, list(_uint8(found.results)), list(_uint8(found.random))))


def _uint8(images: np.ndarray) -> np.ndarray:
    return np.asarray(to_uint8(images))
