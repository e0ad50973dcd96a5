"""What every network keeps to. A new network adds a row to `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.game import Net
from jaxgan.nets import (
    biggan,
    dcgan,
    mlp,
    progressive,
    r3gan,
    resnet,
    strided,
    stylegan2,
    translation,
    weight_normalized,
)
from jaxgan.nets.adapt import adapt
from jaxgan.nets.classifier import Classifier
from jaxgan.nets.layers import (
    BatchNorm,
    InstanceNorm,
    LayerNorm,
    MinibatchDeviation,
    MinibatchDiscrimination,
    VirtualBatchNorm,
)
from jaxgan.nets.padding import zero_pad
from jaxgan.nets.patch import PatchDiscriminator, patch_layers

from .programs import jit

LATENT, BATCH, WIDTH, CLASSES = 5, 6, 4, 3
SIZES = ((8, 8, 1), (28, 28, 1), (28, 28, 3), (32, 32, 3), (64, 64, 3), (8, 12, 3))

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """A network by its size and dtype, and whether it makes images of that size or judges them.

    sees: of a size, the shape of an example of its input, if that is neither a latent nor such an image.
    outputs: of a size, the shapes of one example's outputs, if those are no images.
    running: names of the collections that change in training. in_use: it couples the batch then, too.
    noisy: it draws noise in training; noisy_in_use: whenever it has a key.
    drawn: it is tested as it is initialised but for its vectors, because its layers learn at speeds of their own.
    """

    name: str
    net: Callable[[Size, Any], Net]
    makes_images: bool
    outputs: Callable[[Size], tuple[tuple[int, ...], ...]] = lambda size: ((),)
    sees: Callable[[Size], tuple[int, ...]] | None = None
    running: tuple[str, ...] = ()
    noisy: bool = False
    noisy_in_use: bool = False
    in_use: bool = False
    num_classes: int = 0
    drawn: bool = False


def generator(family: Any, size: Size, dtype: Any, coupled: bool, width: int = WIDTH, **options: Any) -> Net:
    shape = {"output": jnp.tanh, "depth": 2} if family is mlp else {}
    told = [()] if options.get("num_classes") else []
    return adapt(
        family.Generator(size, width, dtype=dtype, **shape, **options), (LATENT,), *told, couples_batch=coupled
    )


def discriminator(family: Any, size: Size, dtype: Any, coupled: bool, **options: Any) -> Net:
    shape = {"depth": 2} if family is mlp else {"shape": size}
    told = [()] if options.get("num_classes") else []
    return adapt(family.Discriminator(width=WIDTH, dtype=dtype, **shape, **options), size, *told, couples_batch=coupled)


def row(build: Callable, family: Any, label: str, coupled: bool = False, in_use: bool = False, **options: Any) -> Row:
    running = ("batch_stats",) if options.get("normalization") is BatchNorm else ()
    running += ("spectral",) if options.get("spectral") else ()
    name = f"{family.__name__.rsplit('.', 1)[1]}.{build.__name__.capitalize()}-{label}"
    return Row(
        name,
        lambda size, dtype: build(family, size, dtype, coupled or in_use, **options),
        build is generator,
        running=running,
        noisy="dropout" in options,
        in_use=in_use,
        num_classes=options.get("num_classes", 0),
    )


def styled_generator(num_classes: int, size: Size, dtype: Any) -> Net:
    mapping = stylegan2.Mapping(stylegan2.num_styles(size), 6, 2, num_classes, dtype=dtype)
    told = [()] if num_classes else []
    return adapt(stylegan2.Generator(mapping, stylegan2.Synthesis(size, WIDTH, dtype=dtype)), (LATENT,), *told)


def translator(label: str, module: Callable[..., Any], coupled: bool = False, shrunk: int = 1, **options: Any) -> Row:
    def sees(size: Size) -> Size:
        return size[0] // shrunk, size[1] // shrunk, size[2]

    told = [()] if options.get("num_domains") else []
    name = f"translation.{module.__name__}-{label}"
    return Row(
        name,
        lambda size, dtype: adapt(
            module(size[2], width=WIDTH, dtype=dtype, **options), sees(size), *told, couples_batch=coupled
        ),
        True,
        sees=sees,
        running=("batch_stats",) if coupled else (),
        noisy=module is translation.UNet and options.get("dropout") != 0,
        noisy_in_use=True,
        num_classes=options.get("num_domains", 0),
    )


def patches(size: Size) -> tuple[tuple[int, ...], ...]:
    halved = 2 ** patch_layers(*size[:2])
    return ((-(-size[0] // halved), -(-size[1] // halved)),)


def patch_discriminator(label: str, coupled: bool = False, **options: Any) -> Row:
    return Row(
        f"patch.PatchDiscriminator-{label}",
        lambda size, dtype: adapt(
            PatchDiscriminator(WIDTH, patch_layers(*size[:2]), dtype=dtype, **options), size, couples_batch=coupled
        ),
        False,
        outputs=patches,
        running=("batch_stats",) * coupled + ("spectral",) * bool(options.get("spectral")),
    )


def reference(key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (7, LATENT))


ROWS = (
    *(
        row(build, family, label, normalization=norm, coupled=norm is BatchNorm)
        for build in (generator, discriminator)
        for family in (mlp, dcgan, resnet)
        for label, norm in (("none", None), ("batch", BatchNorm), ("layer", LayerNorm))
    ),
    *(
        made
        for family in (mlp, dcgan, resnet)
        for made in (
            row(generator, family, "conditional", num_classes=CLASSES),
            row(generator, family, "steadied", spectral=True, dropout=0.3, normalization=LayerNorm),
            row(
                generator,
                family,
                "virtual",
                num_classes=CLASSES,
                normalization=VirtualBatchNorm,
                reference=reference,
            ),
            row(discriminator, family, "projection", num_classes=CLASSES, spectral=True),
            row(discriminator, family, "pair", num_classes=CLASSES, projection=False, dropout=0.3),
        )
    ),
    *(row(build, strided, "batch", normalization=BatchNorm, coupled=True) for build in (generator, discriminator)),
    row(
        generator,
        strided,
        "5x5",
        kernel=5,
        full_resolution=False,
        num_classes=CLASSES,
        normalization=VirtualBatchNorm,
        reference=reference,
    ),
    row(discriminator, strided, "5x5", kernel=5, num_classes=CLASSES, spectral=True, dropout=0.3),
    row(discriminator, mlp, "maxout", maxout=3, dropout=0.3, input_dropout=0.2, use_bias=False),
    row(discriminator, dcgan, "discrimination", in_use=True, minibatch=partial(MinibatchDiscrimination, 3, 2)),
    row(discriminator, resnet, "deviation", in_use=True, minibatch=MinibatchDeviation, mean_pooling=True),
    *(
        replace(made, drawn=True)
        for made in (
            # pixel norm divides by the length of so many numbers: with four of them half precision shows
            row(generator, progressive, "conditional", num_classes=CLASSES, width=16),
            row(generator, progressive, "plain", width=16),
            row(discriminator, progressive, "conditional", num_classes=CLASSES, group=0),
            row(discriminator, progressive, "plain", group=0),
            row(discriminator, progressive, "deviation", in_use=True, group=3),
        )
    ),
    *(
        replace(row(discriminator, stylegan2, label, in_use=True, num_classes=classes, mapping_depth=2), drawn=True)
        for label, classes in (("plain", 0), ("conditional", CLASSES))
    ),
    *(
        Row(
            f"stylegan2.Generator-{label}",
            partial(styled_generator, classes),
            True,
            running=("average",),
            noisy=True,
            num_classes=classes,
            drawn=True,
        )
        for label, classes in (("plain", 0), ("conditional", CLASSES))
    ),
    row(generator, r3gan, "conditional", blocks=1, group_width=4, num_classes=CLASSES),
    row(discriminator, r3gan, "plain", blocks=1, group_width=4),
    row(discriminator, r3gan, "conditional", blocks=1, group_width=4, num_classes=CLASSES),
    Row(
        "resnet.Generator-attention",
        lambda size, dtype: adapt(
            resnet.Generator(
                size,
                WIDTH,
                normalization=BatchNorm,
                num_classes=CLASSES,
                class_norm=True,
                attention=size[0] // 2,
                spectral=True,
                dtype=dtype,
            ),
            (LATENT,),
            (),
            couples_batch=True,
        ),
        True,
        running=("batch_stats", "spectral"),
        num_classes=CLASSES,
    ),
    Row(
        "resnet.Discriminator-attention",
        lambda size, dtype: adapt(
            resnet.Discriminator(
                size, WIDTH, attention=size[0] // 2, spectral=True, wide=True, num_classes=CLASSES, dtype=dtype
            ),
            size,
            (),
        ),
        False,
        running=("spectral",),
        num_classes=CLASSES,
    ),
    Row(
        "biggan.Generator",
        lambda size, dtype: adapt(
            biggan.Generator(size, 2, num_classes=CLASSES, embedding=3, attention=size[0] // 2, dtype=dtype),
            (LATENT,),
            (),
            couples_batch=True,
        ),
        True,
        running=("batch_stats", "spectral"),
        num_classes=CLASSES,
    ),
    Row(
        "biggan.Generator-plain",
        lambda size, dtype: adapt(
            biggan.Generator(size, 2, spectral=False, dropout=0.3, dtype=dtype), (LATENT,), couples_batch=True
        ),
        True,
        running=("batch_stats",),
        noisy=True,
    ),
    Row(
        "biggan.discriminator",
        lambda size, dtype: adapt(
            biggan.discriminator(size, 2, num_classes=CLASSES, attention=size[0] // 2, dtype=dtype), size, ()
        ),
        False,
        running=("spectral",),
        num_classes=CLASSES,
    ),
    Row(
        "weight_normalized.Generator",
        lambda size, dtype: adapt(
            weight_normalized.Generator(size, 2 * WIDTH, dtype=dtype), (LATENT,), couples_batch=True
        ),
        True,
        running=("batch_stats",),
    ),
    Row(
        "weight_normalized.Classifier",
        lambda size, dtype: adapt(weight_normalized.Classifier(10, 8 * WIDTH, dtype=dtype), size),
        False,
        outputs=lambda size: ((10,),),
        noisy=True,
    ),
    translator("plain", translation.UNet, depth=2, normalization=None),
    translator("instance", translation.UNet, depth=2),
    translator("batch", translation.UNet, True, depth=2, normalization=BatchNorm, dropout=0.0),
    # instance normalization over 2x2 positions divides by small numbers: rounding shows
    translator("plain", translation.ResNetTranslator, blocks=2, halvings=1),
    translator("antialias", translation.ResNetTranslator, blocks=1, halvings=1, normalization=None, antialias=True),
    translator(
        "conditional",
        translation.ResNetTranslator,
        blocks=1,
        halvings=1,
        num_domains=CLASSES,
        padding=zero_pad,
        kernel=4,
        normalization=partial(InstanceNorm, affine=True),
    ),
    translator("batch", translation.SuperResolver, True, shrunk=4, blocks=1),
    translator("plain", translation.SuperResolver, shrunk=2, factor=2, blocks=2, normalization=None),
    Row(
        "translation.PatchSampleMLP",
        lambda size, dtype: adapt(translation.PatchSampleMLP(8, dtype=dtype), (size[0], size[2])),
        False,
        outputs=lambda size: ((size[0], 8),),
        sees=lambda size: (size[0], size[2]),
    ),
    patch_discriminator("plain"),
    patch_discriminator("antialias", antialias=True),
    patch_discriminator("instance", normalization=InstanceNorm, spectral=True),
    patch_discriminator("batch", True, normalization=BatchNorm),
    Row(
        "Classifier",
        lambda size, dtype: adapt(Classifier(10, width=4, features=7, dtype=dtype), size),
        False,
        outputs=lambda size: ((10,), (7,)),
        noisy=True,
    ),
)
every_net = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


LABEL = jnp.array([2, 0, 1, 1, 0, 2])


def told(row: Row, size: Size, dtype: Any = jnp.float32) -> Net:
    """The row's net; where it has classes, with a fixed label, so that it is a function of one input."""
    net = row.net(size, dtype)
    if not row.num_classes:
        return net
    assert net.features is not None
    return replace(
        net,
        apply=lambda variables, x, **keywords: net.apply(variables, x, LABEL, **keywords),
        features=lambda variables, x, **keywords: net.features(variables, x, LABEL, **keywords),
    )


def inputs(row: Row, size: Size) -> jax.Array:
    shape = row.sees(size) if row.sees is not None else (LATENT,) if row.makes_images else size
    return jax.random.uniform(jax.random.key(1), (BATCH, *shape), minval=-1.0)


def filled(net: Net, seed: int = 0, drawn: bool = False) -> Any:
    """Variables that are large enough for the output to depend on the input, at once for any architecture."""
    draws = np.random.default_rng(seed)
    if drawn:
        move = lambda leaf: leaf if leaf.ndim > 1 else leaf + np.float32(0.1) * draws.normal(size=leaf.shape)  # noqa: E731
        return jax.tree.map(lambda leaf: np.asarray(move(leaf), leaf.dtype), jit(net.init)(jax.random.key(seed)))

    def fill(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name, value = path[-1].key, draws.normal(size=leaf.shape)
        if leaf.ndim > 1:
            value *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif name in ("var", "scale"):
            value = 1 + 0.3 * np.tanh(value)
        else:
            value *= 0.1
        return value.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(net.init, jax.random.key(0)))


@cache
def small(row: Row, dtype: Any = jnp.float32) -> tuple[Net, Any, jax.Array]:
    net = told(row, (8, 8, 3), dtype)
    return net, filled(net, drawn=row.drawn), inputs(row, (8, 8, 3))


@cache
def compiled(net: Net, train: bool) -> Callable:
    return jit(lambda variables, x, key: net.apply(variables, x, key=key, train=train))


def outputs(net: Net, variables: Any, x: jax.Array, train: bool, key: int = 5) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(compiled(net, train)(variables, x, jax.random.key(key))[0])]


@every_net
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_shapes_and_types_at_every_size(row, size):
    net = told(row, size)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables["params"]))
    for train in (True, False):
        apply = lambda v, x, train=train: net.apply(v, x, key=jax.random.key(0), train=train)  # noqa: E731
        output, changed = jax.eval_shape(apply, variables, inputs(row, size))
        expected = [(BATCH, *size)] if row.makes_images else [(BATCH, *shape) for shape in row.outputs(size)]
        assert [leaf.shape for leaf in jax.tree.leaves(output)] == expected
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(output))
        running = {name: variables[name] for name in variables if name not in ("params", "reference")}
        assert jax.tree.structure(dict(changed)) == jax.tree.structure(running if train else {})
        assert set(running) == set(row.running)


@every_net
def test_images_lie_in_the_agreed_range_and_depend_on_the_input(row):
    net, variables, x = small(row)
    (first, *_) = outputs(net, variables, x, train=True)
    assert np.all(np.isfinite(first))
    assert np.ptp(first, axis=0).max() > 1e-3
    if row.makes_images:
        huge = outputs(net, jax.tree.map(lambda leaf: leaf * 100.0, variables), 100 * x, train=False)[0]
        assert -1 <= huge.min() < -0.9 and 0.9 < huge.max() <= 1


@every_net
def test_examples_are_coupled_where_the_net_says_so(row):
    net, variables, x = small(row)
    for train in (True, False):
        moved = 0.0
        # no constant: instance normalization takes that away
        other = x.at[2].add(0.7).at[2, :1].add(0.7)
        for before, after in zip(outputs(net, variables, x, train), outputs(net, variables, other, train), strict=True):
            assert np.abs(before - after)[2].max() > 1e-4  # the perturbed example itself
            moved = max(moved, float(np.delete(np.abs(before - after), 2, axis=0).max()))
        assert (moved > 1e-5) == (net.couples_batch and (train or row.in_use))


@every_net
def test_without_training_the_output_is_a_function_of_the_input(row):
    net, variables, x = small(row)
    for train in (True, False):
        first, second = (outputs(net, variables, x, train, key) for key in (1, 2))
        same = all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        assert same == (not (row.noisy and (train or row.noisy_in_use)))
    jax.eval_shape(lambda v, x: net.apply(v, x, train=False), variables, x)  # and needs no key


@every_net
def test_running_variables_change_in_training_only(row):
    net, variables, x = small(row)
    _, kept = compiled(net, False)(variables, x, jax.random.key(0))
    _, changed = compiled(net, True)(variables, x, jax.random.key(5))
    assert not kept
    for name in changed:
        pairs = zip(jax.tree.leaves(changed[name]), jax.tree.leaves(variables[name]), strict=True)
        assert all(not np.array_equal(a, b) for a, b in pairs)


# nets whose only input is the latent or the image: no label, and no one logit
TOLD_NOTHING = (
    "Classifier",
    "weight_normalized.Generator",
    "weight_normalized.Classifier",
    "translation.PatchSampleMLP",
    *(r.name for r in ROWS if r.name.startswith(("translation.UNet", "translation.SuperResolver", "patch."))),
)
with_classes = pytest.mark.parametrize("row", [r for r in ROWS if r.num_classes], ids=lambda row: row.name)
by_label = pytest.mark.parametrize("row", [r for r in ROWS if r.name not in TOLD_NOTHING], ids=lambda row: row.name)
judging = pytest.mark.parametrize(
    "row", [r for r in ROWS if not r.makes_images and r.name not in TOLD_NOTHING], ids=lambda row: row.name
)


@with_classes
def test_each_example_is_judged_or_made_by_its_own_label(row):
    net = row.net((8, 8, 3), jnp.float32)
    _, variables, x = small(row)
    apply = jit(lambda label: net.apply(variables, x, label, key=jax.random.key(5), train=False)[0])
    moved = np.abs(apply(LABEL) - apply(LABEL.at[3].set(2))).reshape(BATCH, -1).max(axis=1)
    assert moved[3] > 1e-3
    np.testing.assert_allclose(np.delete(moved, 3), 0.0, atol=1e-6)


@by_label
def test_a_label_is_needed_where_there_are_classes_and_refused_where_there_are_none(row):
    net = row.net((8, 8, 3), jnp.float32)
    _, variables, x = small(row)
    label, message = ((), f"{CLASSES} classes needs a label") if row.num_classes else ((LABEL,), "without classes")
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda v: net.apply(v, x, *label, key=jax.random.key(0)), variables)


@judging
def test_the_last_features_decide_the_logit(row):
    """The features of an example are what its logit is a function of, linear where nothing is behind them."""
    net, variables, x = small(row)
    assert net.features is not None
    shown, logits = jit(lambda v, x: net.features(v, x, train=False)[0][::-1])(variables, x)
    assert shown.ndim == 2 and shown.shape[0] == BATCH and shown.dtype == jnp.float32
    assert np.ptp(shown, axis=0).max() > 1e-3
    if not row.num_classes and not row.in_use:
        last = next(k["kernel"] for k in variables["params"].values() if k.get("kernel", logits).shape[-1] == 1)
        ratio = np.polyfit(np.asarray(shown) @ last[:, 0], logits, 1)
        np.testing.assert_allclose(np.polyval(ratio, shown @ last[:, 0]), logits, rtol=1e-3, atol=1e-4)


@every_net
def test_a_population_equals_its_members(row):
    net, _, x = small(row)
    members = [filled(net, seed, row.drawn) for seed in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    together = jit(jax.vmap(lambda v: net.apply(v, x, key=jax.random.key(5), train=True)[0]))(stacked)
    for m, member in enumerate(members):
        for a, b in zip(jax.tree.leaves(together), outputs(net, member, x, train=True), strict=True):
            np.testing.assert_allclose(a[m], b, rtol=1e-4, atol=1e-5)


@every_net
def test_half_precision_is_inside_only(row):
    net, variables, x = small(row)
    half, _, _ = small(row, jnp.bfloat16)
    initial = jax.eval_shape(half.init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(initial["params"]))
    full = outputs(net, variables, x, train=False)
    for a, b in zip(outputs(half, variables, x, train=False), full, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0.1, atol=0.03 * max(1.0, np.abs(b).max()))
        assert not np.array_equal(a, b)  # it was computed otherwise


def parameters(module: Any, *shapes: tuple[int, ...]) -> int:
    variables = jax.eval_shape(adapt(module, *shapes).init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_parameter_counts():
    """DCGAN for 64x64 colour as in the paper's figure 1 (with kernels of 4x4), and an MLP by its formula."""
    w = 64
    kernels = 16 * (8 * w * 4 * w + 4 * w * 2 * w + 2 * w * w + w * 3)
    norms = 2 * (8 * w + 4 * w + 2 * w + w)
    generator = dcgan.Generator((64, 64, 3), w, normalization=BatchNorm)
    assert parameters(generator, (100,)) == 100 * 16 * 8 * w + kernels + norms + 3
    discriminator = dcgan.Discriminator((64, 64, 3), w, normalization=BatchNorm)
    assert parameters(discriminator, (64, 64, 3)) == kernels + w + 2 * (2 + 4 + 8) * w + 16 * 8 * w + 1
    assert parameters(mlp.Generator((2,), 128, 3), (5,)) == 5 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 2 + 2
    assert parameters(mlp.Discriminator(128, 3), (2,)) == 2 * 128 + 128 + 2 * (128 * 128 + 128) + 128 + 1


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (dcgan.Generator((7, 7, 1)), (LATENT,), "7x7"),
        (dcgan.Generator((28, 28, 1), depth=3), (LATENT,), "divisible by 8, got 28x28"),
        (dcgan.Generator((32, 30, 1), depth=2), (LATENT,), "divisible by 4, got 32x30"),
        (dcgan.Generator((2, 2, 1)), (LATENT,), "2x2"),
        (dcgan.Discriminator((9, 8, 3)), (9, 8, 3), "9x8"),
        (dcgan.Discriminator((28, 28, 1), depth=3), (28, 28, 1), "divisible by 8, got 28x28"),
        (dcgan.Discriminator((8, 8, 3)), (16, 16, 3), r"\(8, 8, 3\), got \(16, 16, 3\)"),
        (dcgan.Discriminator((8, 8, 3)), (8, 8, 1), r"\(8, 8, 3\), got \(8, 8, 1\)"),
    ],
)
def test_impossible_sizes_are_named(module, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(adapt(module, shape).init, jax.random.key(0))
