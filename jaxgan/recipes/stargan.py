"""StarGAN: one generator that brings a picture into any of many domains: the classes of the data, or attributes.

Choi, Choi, Kim, Ha, Kim, Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain
Image-to-Image Translation", 2018, arXiv 1711.09020: the generator is told the wanted domain beside the
picture; D, a Wasserstein critic of patches, must also say which domain it sees; and what was brought into another
domain is to come back from there when the generator is told the first one.

    jaxgan train stargan                                             every digit as every other
    jaxgan train stargan --data folder:PATH --size 64                subfolders are the domains
    jaxgan train stargan --attributes thick slanted-right            every digit thick or thin, slanted or not
    jaxgan train stargan --preset paper --data folder:celeba         128x128, hair, sex and age: an accelerator
    jaxgan translate RUN picture.png --to 7                          by the name of the class, or
    jaxgan translate RUN picture.png --to not-thick                  of the attribute

Of attributes a picture has any number at once. They come from the data: ``celeb_a`` of TFDS, an .npz file's
``attribute`` and ``attributes``, or beside a folder's pictures CelebA's own ``list_attr_celeba.txt`` or a table
``attributes.csv``: a line ``file,Male,Young``, then one for each picture, ``anna.jpg,0,1``. Those of handwriting are
measured. The generator is told all that are wanted: in training those of another picture of the batch. Afterwards
one changes, and the others are those that D sees in the picture; so no attributes of a user's pictures need be known,
and where D errs, what was not asked for changes too. The authors' code takes them from the data set instead.

The generator's first layer is not normalized, unlike the paper's: normalization of each picture takes a constant
away, which the domain beside the picture is, and leaves of it what comes in at the border. --identity-weight, which
the paper has not, is for what is to stay: a cycle alone is content with any other picture that comes back.

Expected, by experiments/translation.py, on test digits: 86 per cent taken for the class they were brought into, and
slants kept (rank correlation 0.80); without the identity 90 per cent, and slants come out the other way (-0.64).
Thick and slanted: 99 per cent have what was asked for, and 87 per cent are still the same digit, without the
identity 10: each has become another one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Batch, Key
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data.batches import image_batches
from jaxgan.evaluation.moments import ATTRIBUTES
from jaxgan.game import Net, State
from jaxgan.games.terms import auxiliary_classification
from jaxgan.games.translation import back, identity, reproduction
from jaxgan.games.two_player import Given
from jaxgan.losses.auxiliary import binary_cross_entropy, cross_entropy
from jaxgan.nets import heads
from jaxgan.nets.adapt import adapt, num_features
from jaxgan.nets.layers import InstanceNorm
from jaxgan.nets.padding import zero_pad
from jaxgan.nets.translation import ResNetTranslator
from jaxgan.recipes.attributes import Chosen, Way, attribute_evaluation, choose
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging_translations import class_evaluation, class_picture
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.recipes.translating import Size, check_pictures, patch_judge, translate_with, translation_recipe
from jaxgan.training.recipe import Recipe, Translate, Translation

RULES = Rules(
    loss="wasserstein",
    gradient_penalty_weight=10.0,
    discriminator_steps=2,
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    learning_rate_decay="linear",
    beta1=0.5,
    beta2=0.999,
)


@dataclass(frozen=True)
class Config:
    attributes: tuple[str, ...] = ()
    """What a picture becomes, or ceases to be, instead of a class: NAME of the data's attributes, or of handwriting
    thick, thin, slanted-right, slanted-left, wide, narrow; NAME/NAME/... for some that exclude each other."""
    classification_weight: float = 1.0
    """Weight of the domain's cross entropy: of real pictures in D's loss, of fakes in the generator's."""
    cycle_weight: float = 10.0
    """Weight of the mean absolute difference between a picture and what comes back of it."""
    identity_weight: float = 1.0
    """Weight of the mean absolute difference between a picture and what becomes of it when its own domain is asked
    for. The paper has no such term: 0."""
    generator_width: int = 16
    """Channels of the generator at the full resolution; they double with each halving."""
    discriminator_width: int = 32
    """Channels of D at half the resolution, likewise."""
    blocks: int = 3
    """Residual blocks of the generator."""
    halvings: int = 1
    """How often the generator halves its pictures."""
    patch_layers: int = 0
    """Halvings of D; 0 for what suits the pictures."""
    flip: bool = False
    """Mirror half of the pictures (not for digits, nor for attributes of left and right)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width", "blocks")
        at_least(self, 0, "classification_weight", "cycle_weight", "identity_weight", "halvings", "patch_layers")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=3000, batch=32, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(
            attributes=("Black_Hair/Blond_Hair/Brown_Hair", "Male", "Young"),
            identity_weight=0.0,
            generator_width=64,
            discriminator_width=64,
            blocks=6,
            halvings=2,
            patch_layers=6,
            flip=True,
            rules=Rules(
                loss="wasserstein",
                gradient_penalty_weight=10.0,
                discriminator_steps=5,
                generator_learning_rate=1e-4,
                discriminator_learning_rate=1e-4,
                learning_rate_decay="linear_from_half",
                beta1=0.5,
                beta2=0.999,
            ),
        ),
        Options(steps=200_000, batch=16, data="folder:celeba", size=128, sample_every=5000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules, dtype = need_images(data), config.rules, DTYPES[config.dtype]
    check_pictures(rules, images.size, "stargan")
    chosen = choose(images, config.attributes) if config.attributes else None
    given: Given
    surprise: Callable[[Array, Array], Array]
    if chosen is not None:
        check_attributes(chosen, config, options)
        images, n = chosen.images, len(chosen.images.attributes)
        given, told, surprise = picture_and_attributes, "attribute", attributes_surprise
    elif images.num_classes >= 2:
        n = images.num_classes
        given, told, surprise = partial(picture_and_domain, n), "label", cross_entropy
    else:
        raise RequestError(
            f"stargan translates between classes, and {images.name} has {images.num_classes}: give --attributes"
        )
    generator = adapt(
        ResNetTranslator(
            images.size[2],
            config.generator_width,
            config.blocks,
            config.halvings,
            partial(InstanceNorm, affine=True),
            n,
            zero_pad,
            kernel=4,
            first_normalized=False,
            dtype=dtype,
        ),
        images.size,
        (n,),
    )
    discriminator = patch_judge(rules, images.size, config.discriminator_width, config.patch_layers, config.dtype)
    classifier = adapt(heads.Linear(n, dtype=dtype), (num_features(discriminator, images.size),))
    pays = partial(auxiliary_classification, "classification_weight", "classifier", loss=surprise)
    weights = ("classification_weight", "cycle_weight", "identity_weight")
    hyper = {name: getattr(config, name) for name in weights}
    content = [reproduction("cycle_weight", back)]
    # another pass of the generator, which a weight of 0 does not need
    content += [reproduction("identity_weight", identity)] if config.identity_weight else []
    game = classic_game(
        rules,
        generator,
        discriminator,
        None,
        options,
        images.size,
        given=given,
        condition=told,
        tell_discriminator=False,
        heads=Heads(
            {"classifier": classifier},
            discriminator_terms=(pays(of=("real",)),),
            generator_terms=(pays(of=("fake",), wanted=lambda r: r.given[1]), *content),
            hyper=hyper,
        ),
    )
    if chosen is None:
        ways = {name: translate_with(generator, domain=k) for k, name in enumerate(images.classes)}
        evaluation = class_evaluation(images, options, ways)
    else:
        seen = partial(changing, generator, discriminator, classifier, images.size)
        ways = {name: seen(way) for name, way in chosen.ways.items()}
        evaluation = attribute_evaluation(chosen, options, ways)
    return translation_recipe(
        game,
        options,
        image_batches(images, options.batch, options.seed, config.flip),
        {**numbers(rules), **hyper},
        {name: Translation(way, images.size[2]) for name, way in ways.items()},
        class_picture(images, ways),
        evaluation,
        [images.image],
        best=("accuracy", -1),
    )


def check_attributes(chosen: Chosen, config: Config, options: Options) -> None:
    """Refuses what would ask for nothing, or for what a picture is not."""
    measured = [name for name, limit in chosen.thresholds.items() if limit is not None]
    if config.flip and (turned := [name for name in measured if ATTRIBUTES[name][0] == "slant"]):
        raise RequestError(f"--flip makes of {turned[0]} its contrary: leave it out")
    if options.batch // config.rules.accumulation < 2:
        raise RequestError("--attributes asks of a picture what another of its batch has: give --batch 2 or more")


def picture_and_domain(num_classes: int, key: Key, batch: Batch) -> tuple[Array, Array]:
    """A batch's pictures, and for each a domain to bring it into, its own among them."""
    return batch["image"], jax.random.randint(key, batch["label"].shape, 0, num_classes)


def picture_and_attributes(key: Key, batch: Batch) -> tuple[Array, Array]:
    """A batch's pictures, and for each the attributes of another, so that all that is asked for exists."""
    return batch["image"], jax.random.permutation(key, batch["attribute"])


def attributes_surprise(logits: Array, attribute: Array) -> Array:
    """Minus the log-probability of all of a picture's attributes, [batch]: their sum, as in the authors' code."""
    return jnp.sum(binary_cross_entropy(logits, attribute), axis=-1)


def changing(generator: Net, discriminator: Net, classifier: Net, size: Size, way: Way) -> Translate:
    """Pictures with one thing changed, and their other attributes as D sees them.

    D, which knows pictures of `size` only, is shown others resized.
    """

    def translate(state: State, images: Array, key: Key) -> Array:
        def of(player: str) -> Mapping[str, Any]:
            params = state.ema.get(player, state.params[player])
            return {"params": params, **state.variables[player]}

        assert discriminator.features is not None
        shown = jax.image.resize(images, (images.shape[0], *size), "linear")
        (_, features), _ = discriminator.features(of("discriminator"), shown, train=False)
        has = classifier.apply(of("classifier"), features, train=False)[0] > 0
        wanted = has.astype(jnp.float32).at[:, jnp.array(way.columns)].set(jnp.array(way.values, jnp.float32))
        return generator.apply(of("generator"), images, wanted, train=False)[0]

    return translate
