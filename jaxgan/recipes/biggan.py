"""BigGAN: class and latent told to every block of G, self-attention, orthogonal weights, and the truncation trick.

Brock, Donahue, Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, arXiv
1809.11096: `sagan` with a class embedding that all of G's conditional batch normalizations share, joined to a
chunk of the latent of each block's own; wider nets; orthogonal initialisation and regularization of G
(Eq. 3); averaged weights, for which standing statistics of batch normalization are measured before samples
are made; samples from a truncated latent.

    jaxgan train biggan                     real 8x8 digits
    jaxgan train biggan --preset paper      CIFAR-10: an accelerator
    jaxgan sample RUN --truncation 0.5      latents from N(0, I) truncated at 2 * 0.5 = 1

Truncation t below 1 is the threshold 2 t, in deviations, which covers the thresholds of the paper, 2 to 0.04; 1
is no truncation. The latents are mapped to truncated ones with their quantiles, which is what redrawing gives
in distribution. Batch statistics are those of the whole batch over all devices ("cross-replica" in the paper).

`paper` is meant to be the paper's run on CIFAR-10 (appendix C.2): its numbers are from memory and were not checked
against the text, and 100,000 steps are ours. For images of 128 pixels the nets are the paper's with
``--generator-width 96 --discriminator-width 96 --latent 120 --attention-depth 1``.
Expected of the defaults, seed 0, in three minutes on one CPU core: over 98 per cent of the samples recognised by
the data set's classifier, and over 99 as the class that was asked for.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxgan.arrays import Array
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.game import State
from jaxgan.latent import normal_prior, truncate_normal
from jaxgan.nets import biggan
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import classes_told, image_recipe, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging import standing_statistics
from jaxgan.recipes.rules import DTYPES, MINIBATCH_LAYERS, Dtype, Rules, discriminator_couples_batch
from jaxgan.recipes.sngan import attended_height, need_batch_norm
from jaxgan.training.recipe import Recipe

RULES = Rules(
    loss="hinge",
    spectral_norm="both",
    generator_normalization="batch",
    generator_learning_rate=5e-4,
    discriminator_learning_rate=2e-3,
    learning_rate_decay="linear",
    beta1=0.0,
    beta2=0.99,
    orthogonal_weight=1e-4,
    ema_decay=0.995,
)


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent, shared out to the start and the blocks of the generator."""
    generator_width: int = 8
    """The generator's ch: its blocks have 1 to 16 times as many channels, 4 times below 64 pixels."""
    discriminator_width: int = 8
    """The discriminator's ch."""
    embedding: int = 32
    """Length of the class's embedding."""
    attention_depth: int = 1
    """Both nets attend where the image is halved so many times, 0 for not at all."""
    standing_statistics: int = 16
    """Batches over which batch statistics are measured before samples are made, 0 for running averages."""
    conditional: Literal["auto", "yes", "no"] = "auto"
    """Tell both nets the class; auto where the data have labels."""
    flip: bool = False
    """Mirror half of the images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width", "embedding")
        at_least(self, 0, "attention_depth", "standing_statistics")
        need_batch_norm(self.rules)
        if self.rules.discriminator_normalization != "none":
            raise RequestError("BigGAN's D has no normalization: leave --discriminator-normalization at none")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=2500, batch=64, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            latent=128,
            generator_width=96,
            discriminator_width=96,
            embedding=128,
            flip=True,
            rules=Rules(
                loss="hinge",
                spectral_norm="both",
                generator_normalization="batch",
                discriminator_steps=2,
                generator_learning_rate=5e-5,
                discriminator_learning_rate=2e-4,
                beta1=0.0,
                beta2=0.999,
                orthogonal_weight=1e-4,
                ema_decay=0.9999,
            ),
        ),
        Options(steps=100_000, batch=2048, data="cifar10", sample_every=1000, save_every=1000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    num_classes = classes_told(config.conditional, images)
    dtype, label = DTYPES[config.dtype], ((),) if num_classes else ()
    attention = attended_height(images.size, config.attention_depth)
    try:
        biggan.chunk_sizes(config.latent, images.size)
    except ValueError as error:
        raise RequestError(f"--latent: {error}") from error
    generator = biggan.Generator(
        images.size,
        config.generator_width,
        num_classes=num_classes,
        embedding=config.embedding,
        attention=attention,
        spectral=rules.spectral_norm == "both",
        dropout=rules.generator_dropout,
        dtype=dtype,
    )
    seen = seen_shape(images.size, rules)
    discriminator = biggan.discriminator(
        seen,
        config.discriminator_width,
        num_classes=num_classes,
        attention=attention,
        spectral=rules.spectral_norm != "none",
        dropout=rules.discriminator_dropout,
        minibatch=MINIBATCH_LAYERS.get(rules.minibatch),
        dtype=dtype,
    )
    net = adapt(generator, (config.latent,), *label, couples_batch=True)
    recipe = image_recipe(
        rules,
        net,
        adapt(discriminator, seen, *label, couples_batch=discriminator_couples_batch(rules)),
        normal_prior(config.latent),
        options,
        images,
        num_classes,
        config.flip,
    )
    assert recipe.prior is not None and recipe.generate is not None
    plain = recipe.generate

    def truncated(inputs: Any, truncation: float) -> Any:
        if truncation >= 1:
            return inputs
        latent, *told = inputs if isinstance(inputs, tuple) else (inputs,)
        latent = truncate_normal(latent, 2.0 * truncation)
        return (latent, *told) if told else latent

    def generate(state: State, inputs: Any, truncation: float) -> Array:
        return plain(state, truncated(inputs, truncation), 1.0)

    passes = config.standing_statistics
    ready = standing_statistics(net, recipe.prior, passes, options.batch, truncated) if passes else None
    return replace(recipe, generate=generate, ready=ready)
