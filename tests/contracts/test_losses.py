"""What every adversarial loss keeps to. A new loss adds a row to `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_expit, wrightomega

from jaxgan.losses import adversarial, divergence
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.divergence import Divergence, f_gan

from .programs import jit

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Row:
    """A loss beside its formulas in float64 NumPy, by another route than the library's.

    labelled: (logit, label) -> D's loss, where labels are; couples: examples of a batch see each other's mean.
    """

    name: str
    loss: AdversarialLoss
    discriminator: Formula
    generator: Formula
    labelled: Formula | None = None
    couples: bool = False


def log_d(logit: np.ndarray) -> np.ndarray:
    return log_expit(logit)


def log_not_d(logit: np.ndarray) -> np.ndarray:
    return log_expit(-logit)


def cross_entropy(logit: np.ndarray, label: np.ndarray) -> np.ndarray:
    return -label * log_d(logit) - (1 - label) * log_not_d(logit)


def limited(x: np.ndarray) -> np.ndarray:
    """An exponent, whose exponential continues along its tangent at 30."""
    return np.where(x > 30, 30 + np.log(np.maximum(x, 30) - 29), x)


def lower_limited(x: np.ndarray) -> np.ndarray:
    return -limited(-x)


def relativistic(discriminator: Formula) -> Formula:
    return lambda r, f: discriminator(r - f.mean(0, keepdims=True), f - r.mean(0, keepdims=True))


def swapped(formula: Formula) -> Formula:
    return lambda r, f: formula(f, r)


def jeffrey_conjugate(t: np.ndarray) -> np.ndarray:
    w = wrightomega(1 - t)  # W(e^(1 - t))
    return w + 1 / w + t - 2


average_logistic = relativistic(lambda r, f: -log_d(r) - log_not_d(f))
average_squares = relativistic(lambda r, f: (r - 1) ** 2 + (f + 1) ** 2)
average_hinge = relativistic(lambda r, f: np.where(r < 1, 1 - r, 0) + np.where(f > -1, 1 + f, 0))

# each with the paper's activation, and its conjugate at the activation
F_GAN: dict[str, tuple[Divergence, Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "kl": (divergence.kl, limited, lambda v: np.exp(limited(v) - 1)),
    "reverse_kl": (
        divergence.reverse_kl,
        lambda v: -np.exp(limited(-v)),
        lambda v: lower_limited(v) - 1,
    ),
    "jensen_shannon": (divergence.jensen_shannon, lambda v: np.log(2) + log_d(v), lambda v: -log_not_d(v) - np.log(2)),
    "jeffrey": (divergence.jeffrey, limited, lambda v: jeffrey_conjugate(limited(v))),
    "pearson": (divergence.pearson, lambda v: v, lambda v: (v / 2 + 1) ** 2 - 1),
    "neyman": (
        divergence.neyman,
        lambda v: 1 - np.exp(limited(-v)),
        lambda v: 2 - 2 * np.sqrt(np.exp(limited(-v))),
    ),
    "squared_hellinger": (
        divergence.squared_hellinger,
        lambda v: 1 - np.exp(-lower_limited(limited(v))),
        lambda v: np.exp(lower_limited(limited(v))) - 1,
    ),
    "total_variation": (divergence.total_variation, lambda v: np.tanh(v) / 2, lambda v: np.tanh(v) / 2),
    "gan": (divergence.gan, log_d, lambda v: -log_not_d(v)),
}


ROWS = (
    Row(
        "minimax",
        adversarial.minimax,
        lambda r, f: -log_d(r) - log_not_d(f),
        lambda r, f: log_not_d(f),
        labelled=cross_entropy,
    ),
    Row(
        "non_saturating",
        adversarial.non_saturating,
        lambda r, f: -log_d(r) - log_not_d(f),
        lambda r, f: -log_d(f),
        labelled=cross_entropy,
    ),
    Row(
        "maximum_likelihood",
        adversarial.maximum_likelihood,
        lambda r, f: -log_d(r) - log_not_d(f),
        lambda r, f: -np.exp(limited(f)),
        labelled=cross_entropy,
    ),
    Row(
        "least_squares",
        adversarial.least_squares,
        lambda r, f: r**2 - 2 * r + 1 + f**2,
        lambda r, f: f**2 - 2 * f + 1,
        labelled=lambda logit, label: logit**2 - 2 * label * logit + label**2,
    ),
    Row(
        "hinge",
        adversarial.hinge,
        lambda r, f: np.where(r < 1, 1 - r, 0) + np.where(f > -1, 1 + f, 0),
        lambda r, f: -f,
    ),
    Row("wasserstein", adversarial.wasserstein, lambda r, f: -(r - f), lambda r, f: -f),
    Row("relativistic", adversarial.relativistic, lambda r, f: -log_d(r - f), lambda r, f: -log_d(f - r)),
    Row(
        "relativistic_average",
        adversarial.relativistic_average,
        average_logistic,
        swapped(average_logistic),
        couples=True,
    ),
    Row(
        "relativistic_average_least_squares",
        adversarial.relativistic_average_least_squares,
        average_squares,
        swapped(average_squares),
        couples=True,
    ),
    Row(
        "relativistic_average_hinge",
        adversarial.relativistic_average_hinge,
        average_hinge,
        swapped(average_hinge),
        couples=True,
    ),
    Row(
        "label_smoothing",
        adversarial.label_smoothing(adversarial.non_saturating, 0.75),
        lambda r, f: -0.75 * log_d(r) - 0.25 * log_not_d(r) - log_not_d(f),
        lambda r, f: -log_d(f),
        labelled=lambda logit, label: cross_entropy(logit, 0.75 * label),
    ),
    *(
        Row(
            f"f_gan_{name}",
            f_gan(row),
            lambda r, f, g=activation, h=conjugated: -g(r) + h(f),
            lambda r, f, h=conjugated: -h(f),
        )
        for name, (row, activation, conjugated) in F_GAN.items()
    ),
)

ALTERNATIVES = tuple(
    pytest.param(
        f_gan(row, alternative=True).generator,
        lambda r, f, g=activation: -g(f),
        False,
        id=f"f_gan_{name}-alternative-generator",
    )
    for name, (row, activation, _) in F_GAN.items()
)

# no pair symmetric, no value at a hinge's corner
REAL = np.array([-3.1, 0.4, 2.7, 0.9, 7.5, -0.2])
FAKE = np.array([1.3, -2.2, 0.6, 4.1, -5.2, -0.7])

every_player = pytest.mark.parametrize(
    ("loss", "formula", "couples"),
    [
        *(
            pytest.param(getattr(row.loss, player), getattr(row, player), row.couples, id=f"{row.name}-{player}")
            for row in ROWS
            for player in ("discriminator", "generator")
        ),
        *ALTERNATIVES,
    ],
)
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_labelled = pytest.mark.parametrize("row", [row for row in ROWS if row.labelled], ids=lambda row: row.name)


@every_player
def test_equals_the_closed_form(loss, formula, couples):
    real, fake = REAL.astype(np.float32), FAKE.astype(np.float32)
    expected = formula(real.astype(np.float64), fake.astype(np.float64))
    for compute in (loss, jit(loss)):
        result = compute(real, fake)
        assert result.dtype == jnp.float32 and result.shape == (6,)
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)
    over_seeds = jax.vmap(loss)(np.stack([real, fake]), np.stack([fake, real]))
    np.testing.assert_allclose(over_seeds, [expected, formula(FAKE, REAL)], rtol=1e-5, atol=1e-5)


@every_player
def test_gradient_equals_finite_differences(loss, formula, couples):
    step = 1e-6
    gradients = jit(jax.grad(lambda *logits: jnp.sum(loss(*logits)), (0, 1)))(jnp.float32(REAL), jnp.float32(FAKE))
    for argument, gradient in enumerate(gradients):
        for i, shift in enumerate(step * np.eye(6)):
            up, down = ([REAL, FAKE], [REAL, FAKE])
            up[argument], down[argument] = up[argument] + shift, down[argument] - shift
            expected = np.sum(formula(*up) - formula(*down)) / (2 * step)
            np.testing.assert_allclose(gradient[i], expected, rtol=1e-4, atol=2e-6)


@every_player
def test_swapped_arguments_show(loss, formula, couples):
    difference = np.asarray(loss(jnp.float32(REAL), jnp.float32(FAKE)) - loss(jnp.float32(FAKE), jnp.float32(REAL)))
    assert np.abs(difference).min() > 1e-2


@every_player
@pytest.mark.parametrize("shape", [(5,), (2, 3, 3), (4, 1), ()])
def test_keeps_the_shape(loss, formula, couples, shape):
    if couples and not shape:
        with pytest.raises(ValueError, match="mean over a batch"):
            loss(jnp.zeros(()), jnp.zeros(()))
        return
    draws = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    result = loss(jnp.asarray(draws[0]), jnp.asarray(draws[1]))
    assert result.shape == shape
    np.testing.assert_allclose(result, formula(*draws.astype(np.float64)), rtol=1e-5, atol=1e-6)


@every_player
def test_examples_are_judged_one_by_one_unless_coupled(loss, formula, couples):
    real, fake = np.float32(REAL), np.float32(FAKE)
    change = np.float32([0, 0, 0.25, 0, 0, 0])
    value, other = np.asarray(loss(real, fake)), np.asarray(loss(real + change, fake - change))
    assert (np.delete(value, 2) == np.delete(other, 2)).all() == (not couples)
    assert abs(value[2] - other[2]) > 1e-3


@every_player
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_promoted_before_anything_is_computed(loss, formula, couples, dtype):
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)
    expected = formula(np.asarray(real, np.float64), np.asarray(fake, np.float64))
    result = loss(real, fake)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)
    assert loss(real, jnp.asarray(FAKE, jnp.float32)).dtype == jnp.float32


@every_player
def test_double_precision_is_kept(loss, formula, couples):
    with jax.enable_x64(True):
        result = loss(jnp.asarray(REAL), jnp.asarray(FAKE))
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, formula(REAL, FAKE), rtol=1e-13, atol=1e-14)


@every_player
def test_huge_logits_stay_finite_and_exact(loss, formula, couples):
    real = np.array([1e4, 1e4, -1e4, -1e4], np.float32)
    fake = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    # an exponent of 39 has itself an error of 2e-6
    np.testing.assert_allclose(loss(real, fake), formula(np.float64(real), np.float64(fake)), rtol=1e-5, atol=1e-6)
    gradients = jit(jax.grad(lambda *logits: jnp.sum(loss(*logits)), (0, 1)))(real, fake)
    assert np.all(np.isfinite(gradients)) and np.all(np.isfinite(np.square(gradients)))


@every_player
def test_mistakes_are_refused(loss, formula, couples):
    with pytest.raises(ValueError, match=r"differ in shape: \(3,\), \(3, 1\)"):
        loss(jnp.zeros((3,)), jnp.zeros((3, 1)))
    for real, fake in ((jnp.int32, jnp.int32), (jnp.int32, jnp.float32), (jnp.float32, jnp.bool_)):
        with pytest.raises(TypeError, match="floating"):
            loss(jnp.zeros((3,), real), jnp.zeros((3,), fake))


@every_row
def test_labels_are_those_of_the_row(row):
    assert (row.loss.labelled is None) == (row.labelled is None)


@every_labelled
def test_the_discriminator_pays_label_one_on_reals_and_zero_on_fakes(row):
    real, fake = np.float32(REAL), np.float32(FAKE)
    total = row.loss.labelled(real, 1.0) + row.loss.labelled(fake, 0.0)
    np.testing.assert_allclose(total, row.discriminator(REAL, FAKE), rtol=2e-6, atol=1e-6)


@every_labelled
def test_soft_labels_equal_the_closed_form(row):
    label = np.linspace(0, 1, 6)
    for compute in (row.loss.labelled, jit(row.loss.labelled)):
        value = compute(np.float32(REAL), np.float32(label))
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, row.labelled(REAL, label), rtol=2e-6, atol=1e-6)
    half = jnp.asarray(REAL, jnp.bfloat16)
    np.testing.assert_allclose(
        row.loss.labelled(half, 0.3), row.labelled(np.asarray(half, np.float64), 0.3), rtol=2e-6, atol=1e-6
    )
    huge = np.float32([1e4, -1e4])
    np.testing.assert_allclose(row.loss.labelled(huge, 0.3), row.labelled(np.float64(huge), 0.3), rtol=1e-6)
    with jax.enable_x64(True):
        value = row.loss.labelled(jnp.asarray(REAL), jnp.asarray(label))
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, row.labelled(REAL, label), rtol=1e-13, atol=1e-14)
    with pytest.raises(TypeError, match="floating, got int32"):
        row.loss.labelled(jnp.zeros((3,), jnp.int32), 0.3)


@every_row
def test_where_zero_separates_the_best_logit_has_the_sign_of_the_difference(row):
    """What D pays at one point with densities p and q is least at a logit that tells which is larger."""
    logits = np.linspace(-6, 6, 2401)
    zero = np.zeros_like(logits)
    signs = []
    for p in (0.45, 0.55):
        paid = p * row.discriminator(logits, zero) + (1 - p) * row.discriminator(zero, logits)
        signs.append(np.sign(logits[np.argmin(paid)]))
    if row.loss.zero_separates and row.name != "label_smoothing":
        assert signs == [-1, 1]
    if row.name in ("least_squares", "f_gan_kl"):
        assert signs == [1, 1] and not row.loss.zero_separates
