"""Path length regularisation: a generator whose images move at an even speed through its space of styles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key, Params
from jaxgan.game import Game, LossInput, LossOutput, Net, Update, every
from jaxgan.games.two_player import Weight, value

# a fold of the step's key, beyond those of the two players' game
PATH_LENGTH = 0x7061
# of the running mean: ``mean <- mean + MEAN_RATE * (batch mean - mean)`` each time it is measured
MEAN_RATE = 0.01


def with_path_length(
    game: Game,
    mapping: Net,
    synthesis: Net,
    prior: Callable[[Key, int], Array],
    weight: Weight,
    *,
    interval: int = 4,
    shrink: int = 2,
    observation: str = "image",
    condition: str | None = None,
) -> Game:
    """`game` with a further move of its generator every `interval` steps, after all others:

        interval * weight * mean over examples of (length - a)^2,   length = |J^T y|,

    J the Jacobian of the image with respect to its styles, y an image of independent N(0, 1 / pixels),
    where pixels = height * width, and a the running mean of the length: the entry "path_length" of the
    game's memory, a constant to the gradient.

    mapping: latents (and conditions) -> styles [n, layers, features]; synthesis: styles -> images. The
        generator's parameters and running variables are theirs, under "mapping" and "synthesis".
    shrink: the share 1 / shrink of a batch is measured, from latents of its own.
    observation, condition: batch keys of the examples, for their number, and of what the mapping is told.

    Metrics: `length`, its mean over the examples. A generator with an average moves it here, too.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv 1912.04958, section
    3.2, Eq. 4, as its code has it: |J^T y|^2 is the *mean* over layers of the squared norms. The default
    weight of the code is 2, which with these norms is the paper's gamma of appendix B.
    """

    def loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        whole = {"params": params["generator"], **inputs.variables["generator"]}
        n = max(1, inputs.batch[observation].shape[0] // shrink)
        told = () if condition is None else (inputs.batch[condition][:n],)
        latent_key, mapping_key, noise_key, y_key = jax.random.split(jax.random.fold_in(inputs.key, PATH_LENGTH), 4)
        styles, _ = mapping.apply(_part(whole, "mapping"), prior(latent_key, n), *told, key=mapping_key)

        def along_y(styles: Array) -> Array:
            images, _ = synthesis.apply(_part(whole, "synthesis"), styles, key=noise_key)
            pixels = images.shape[1] * images.shape[2]
            return jnp.sum(images * jax.random.normal(y_key, images.shape)) / pixels**0.5

        moved = jax.grad(along_y)(styles)
        # the gradient of a root at zero is not finite
        length = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(moved), axis=2), axis=1) + 1e-12)
        before = inputs.memory["path_length"]
        mean = jax.lax.stop_gradient(before + MEAN_RATE * (jnp.mean(length) - before))
        penalty = interval * value(weight, inputs.hyper) * jnp.mean(jnp.square(length - mean))
        return penalty, LossOutput(memory={"path_length": mean}, metrics={"length": jnp.mean(length)})

    def memory(key: Key) -> Mapping[str, Any]:
        return {**game.memory(key), "path_length": jnp.zeros(())}

    update = Update("path_length", ("generator",), loss, every(interval, offset=0))
    return replace(game, updates=(*game.updates, update), memory=memory)


def _part(variables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The variables of one of the nets that a net consists of."""
    return {kind: tree[name] for kind, tree in variables.items() if name in tree}
