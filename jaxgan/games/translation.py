"""Terms of two players' losses by which a generator translates: its fakes are to keep what it was given.

All are terms of the generator's loss in `two_player`, whose `given` are pictures. Two domains that translate into
each other are one such game on a batch that holds both, one half after the other (`nets.adapt.in_parts`): then
`cycle` and `identity` below are CycleGAN's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.games.two_player import Round, Term, Weight, value
from jaxgan.losses.auxiliary import contrastive

# what G is given to reproduce the example from
Inputs = Callable[[Round], tuple[Array, ...]]


def closeness(weight: Weight) -> Term:
    """``weight * mean |example - made|`` over examples, pixels and channels: each fake has a right answer.

    Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv
    1611.07004, Eq. 3: weight 100 beside images in [-1, 1].
    """
    return lambda r: value(weight, r.hyper) * jnp.mean(jnp.abs(r.example - r.made))


def reproduction(weight: Weight, inputs: Inputs) -> Term:
    """``weight * mean |G(inputs) - example|``: from these inputs G is to make the example.

    With `cycle` and weight 10, and `identity` and half of that: Zhu, Park, Isola, Efros, CycleGAN, 2017, arXiv
    1703.10593, Eq. 2 and section 5.2. With `back`: Choi et al., "StarGAN", 2018, arXiv 1711.09020, Eq. 4.
    """
    return lambda r: value(weight, r.hyper) * jnp.mean(jnp.abs(r.generator(*inputs(r)) - r.example))


def swapped(both: Array) -> Array:
    """The two halves of a batch in the other order."""
    first, second = jnp.split(both, 2)
    return jnp.concatenate([second, first])


def cycle(r: Round) -> tuple[Array, ...]:
    """The fakes of the other domain, which were made of the example."""
    return (swapped(r.made),)


def identity(r: Round) -> tuple[Array, ...]:
    """The example itself, which is of the domain already, and its own domain where the generator is told one."""
    return (r.example,) if r.condition is None else (r.example, r.condition)


def back(r: Round) -> tuple[Array, ...]:
    """What was made of the example, and the example's own domain."""
    if r.condition is None:
        raise ValueError("the way back needs a condition: the domains")
    return r.made, r.condition


def content(weight: Weight, features: Callable[[Array], Array]) -> Term:
    """``weight * mean (features(example) - features(made))^2``, over examples and features.

    features: images [batch, ...] -> [batch, n], of a fixed net, or the images themselves. Ledig et al.,
    "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", 2017, arXiv
    1609.04802, Eq. 4 (pixels) and 5 (VGG's activations).
    """

    def term(r: Round) -> Array:
        wanted = jax.lax.stop_gradient(features(r.example))
        return value(weight, r.hyper) * jnp.mean(jnp.square(wanted - features(r.made)))

    return term


def patch_contrast(
    weight: Weight, head: str, positions: int = 256, temperature: float = 0.07, of: str = "given"
) -> Term:
    """``weight * mean over maps, examples and positions of contrastive(...)``: PatchNCE.

    At some positions, G's own activations for what it made are to be like those for what it was given at the same
    place, and unlike those at the others, after the head of that name, which moves with G (`generator_heads`).

    positions: at most so many of each map, drawn anew each step, the same in all examples. of: "given", or
    "example" for the same of the real examples and what G makes of them, which it should leave alone.
    Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation" (CUT), 2020, arXiv
    2007.15651, Eq. 4 and 5: 256 positions, temperature 0.07, weight 1 each.
    """
    if of not in ("given", "example"):
        raise ValueError(f"contrast is of 'given' or 'example', got {of!r}")

    def term(r: Round) -> Array:
        source = r.given if of == "given" else (r.example,)
        made = r.made if of == "given" else r.generator(*source)
        before, after = r.generator_features(*source), r.generator_features(made)
        keys = jax.random.split(jax.random.fold_in(r.key, len(of)), len(before))
        chosen = [
            jax.random.permutation(key, x.shape[1] * x.shape[2])[:positions]
            for key, x in zip(keys, before, strict=True)
        ]

        def at(maps: tuple[Array, ...]) -> tuple[Array, ...]:
            flat = [x.reshape(x.shape[0], -1, x.shape[-1]) for x in maps]
            return tuple(x[:, place] for x, place in zip(flat, chosen, strict=True))

        queries, answers = r.heads[head](*at(after)), r.heads[head](*at(before))
        losses = [jnp.mean(contrastive(q, k, temperature)) for q, k in zip(queries, answers, strict=True)]
        return value(weight, r.hyper) * sum(losses[1:], losses[0]) / len(losses)

    return term
