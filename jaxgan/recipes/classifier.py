"""A small convolutional classifier: the independent judge of generated images, and their feature net.

After LeCun et al., "Gradient-based learning applied to document recognition", 1998, with dropout
and average pooling.

    jaxgan train classifier                            8x8 digits: about 98 per cent of 300 test images
    jaxgan train classifier --preset mnist             99.35 per cent, ten minutes on two CPU cores
    jaxgan train classifier --preset fashion_mnist     92.07 per cent, fifteen (both seed 0, last step)
    jaxgan train classifier --preset cifar10           not measured yet

Its last hidden layer is the feature net "classifier-DATA" of `jaxgan evaluate`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.arrays import Array, Batch, Key, Params
from jaxgan.config import Options, Preset, RequestError, at_least, fraction
from jaxgan.data.batches import image_batches
from jaxgan.data.pixels import in_parts
from jaxgan.evaluation.features import FeatureNet, probabilities
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, State, Update
from jaxgan.losses.auxiliary import cross_entropy
from jaxgan.nets.adapt import adapt
from jaxgan.nets.classifier import Classifier
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.rules import DTYPES, Dtype
from jaxgan.training.checkpoint import flatten
from jaxgan.training.recipe import Evaluation, Recipe, Stage

SHIFT = 1


@dataclass(frozen=True)
class Config:
    width: int = 32
    """Channels of the first convolution; they double at each pooling."""
    num_features: int = 128
    """Units of the last hidden layer: the dimension of the features."""
    dropout: float = 0.3
    """Share of the units dropped before each dense layer."""
    learning_rate: float = 2e-3
    """Adam's step size, decaying to 0 along a cosine."""
    shift: bool = True
    """Move training images by up to one pixel each way."""
    flip: bool = False
    """Mirror half of the training images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the net."""

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "num_features")
        at_least(self, 0, "learning_rate")
        fraction(self, "dropout")


_OPTIONS = Options(steps=1500, batch=64, data="digits", log_every=100, sample_every=0, save_every=0)
# those of a data set's name judge its samples
PRESETS = {
    "cpu": Preset(Config(), _OPTIONS),
    "mnist": Preset(Config(), replace(_OPTIONS, steps=2500, batch=128, data="mnist")),
    "fashion_mnist": Preset(Config(flip=True), replace(_OPTIONS, steps=3500, batch=128, data="fashion_mnist")),
    "cifar10": Preset(Config(flip=True), replace(_OPTIONS, steps=3500, batch=128, data="cifar10")),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images = need_images(data)
    if images.num_classes < 2:
        raise RequestError(f"a classifier needs at least 2 classes, and {images.name} has {images.num_classes}")
    net = _net(config, images.size, images.num_classes)

    def loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        image, label = _inputs(inputs.batch, inputs.key, config.shift)
        variables = {"params": params["classifier"], **inputs.variables["classifier"]}
        (logits, _), running = net.apply(variables, image, key=jax.random.fold_in(inputs.key, 1))
        metrics = {"accuracy": jnp.mean(jnp.argmax(logits, -1) == label, dtype=jnp.float32)}
        return jnp.mean(cross_entropy(logits, label)), LossOutput({"classifier": running}, metrics=metrics)

    schedule = optax.cosine_decay_schedule(config.learning_rate, options.steps)
    game = Game({"classifier": Player(net, optax.adam(schedule))}, (Update("classifier", ("classifier",), loss),))
    tested = images.test_image is not None and images.test_label is not None
    return Recipe(
        stages=(Stage(game, options.steps, image_batches(images, options.batch, options.seed, config.flip)),),
        evaluations={"test": _evaluation(net, images)} if tested else {},
        best=("test", "accuracy", -1) if tested else None,
    )


def feature_net(config: Config, data: Mapping[str, Any], state: State) -> FeatureNet:
    """A trained classifier as a feature net; `data` is the description in its run's folder."""
    net = _net(config, tuple(data["shape"]), len(data["classes"]))
    return _as_feature_net(net, state, f"classifier-{data['name']}")


def _net(config: Config, size: tuple[int, int, int], num_classes: int) -> Net:
    module = Classifier(num_classes, config.width, config.num_features, config.dropout, DTYPES[config.dtype])
    return adapt(module, size)


def _inputs(batch: Batch, key: Key, shift: bool) -> tuple[Array, Array]:
    image = batch["image"]
    if shift:
        n, height, width, channels = image.shape
        padded = jnp.pad(image, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        corner = jax.random.randint(jax.random.fold_in(key, 0), (n, 2), 0, 2 * SHIFT + 1)
        cut = jax.vmap(lambda x, c: jax.lax.dynamic_slice(x, (c[0], c[1], 0), (height, width, channels)))
        image = cut(padded, corner)
    return image, batch["label"]


def _as_feature_net(net: Net, state: State, name: str) -> FeatureNet:
    import hashlib

    variables = {"params": state.params["classifier"], **state.variables["classifier"]}
    identity = hashlib.sha256()
    for path, array in sorted(flatten(jax.device_get(variables)).items()):
        identity.update(path.encode() + np.asarray(array).tobytes())

    def outputs(images: Array) -> tuple[Array, Array]:
        return net.apply(variables, images, train=False)[0]

    return FeatureNet(name, lambda x: outputs(x)[1], lambda x: jax.nn.softmax(outputs(x)[0]), identity.hexdigest())


def _evaluation(net: Net, images: Any) -> Evaluation:
    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        judge = _as_feature_net(net, state, images.name)
        predicted = np.concatenate([probabilities(judge, part) for part in in_parts(images.test_image)])
        correct = predicted.argmax(-1) == images.test_label
        confident = predicted.max(-1) > 0.9
        return {
            "accuracy": float(correct.mean()),
            "confident": float(confident.mean()),
            "confident_accuracy": float(correct[confident].mean()) if confident.any() else None,
            "n_test": len(correct),
            "note": images.note,
        }

    return evaluate
