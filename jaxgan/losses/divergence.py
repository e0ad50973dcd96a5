"""f-GAN: variational estimates of f-divergences, one row a divergence.

``D_f(P || Q) = integral q f(p/q)`` with P the data and Q the generator. For any function T into the
domain of the conjugate ``f*(t) = sup_u (u t - f(u))``,

    ``E_P[T] - E_Q[f*(T)] <= D_f(P || Q)``, with equality at ``T = f'(p/q)``.

D is the player that makes the left side large, with ``T = activation(logit)``.

Nowozin, Cseke, Tomioka, "f-GAN: Training Generative Neural Samplers using Variational Divergence
Minimization", 2016, arXiv 1606.00709: Eqs. 4 to 7; Tables 1 and 2, and those of the appendix. Activations increase
in the logit, as section 3.1 asks, also where a printed sign would make them decrease.

Exponentials are limited: beyond a logit of 30 (of -30, of both, as the row needs) the logit continues
as a logarithm (`adversarial.limit_exponent`), so that exponentials continue along their tangents. T is
then another point of the domain and `conjugate_of_activation` its exact conjugate: the bound holds for
every logit, and values and gradients are finite in float32 at logits of 1e4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.losses.adversarial import AdversarialLoss, elementwise, limit_exponent

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Divergence:
    """An f-divergence in its variational form; all functions are elementwise.

    generator_function: f(u) of the ratio u = p/q > 0, convex, f(1) = 0 (but for `gan`).
    derivative: f'(u); ``T*(x) = derivative(p(x) / q(x))`` is the optimal T.
    conjugate: f*(t) on its domain, as it stands: neither limited nor checked.
    activation: g_f, from a logit of any size into the domain of f*, increasing.
    conjugate_of_activation: f*(g_f(logit)) in one piece that is finite for any logit.
    threshold: f'(1), what T is where p = q: D takes an example for real above it.
    threshold_logit: the logit at which the activation is the threshold.
    """

    generator_function: Function
    derivative: Function
    conjugate: Function
    activation: Function
    conjugate_of_activation: Function
    threshold: float
    threshold_logit: float = 0.0


def f_gan(divergence: Divergence, alternative: bool = False) -> AdversarialLoss:
    """The two players of a divergence: D pays ``-g(real) + f*(g(fake))``, minus its lower bound of D_f.

    The generator minimises that bound, ``-f*(g(fake))``, or, with `alternative`, ``-g(fake)``:
    the trick of section 3.2, with gradients where D rejects every fake, as `non_saturating` is to
    `minimax`, and the same fixed point. `zero_separates` unless the threshold is at another logit.
    There are no labels to smooth.
    """
    real_part, fake_part = divergence.activation, divergence.conjugate_of_activation
    return AdversarialLoss(
        discriminator=elementwise(lambda real_logits, fake_logits: fake_part(fake_logits) - real_part(real_logits)),
        generator=elementwise(
            (lambda real_logits, fake_logits: -real_part(fake_logits))
            if alternative
            else (lambda real_logits, fake_logits: -fake_part(fake_logits))
        ),
        zero_separates=divergence.threshold_logit == 0.0,
    )


def _bounded_below(logits: Array) -> Array:
    return -limit_exponent(-logits)


LOG_TWO = 0.6931471805599453

kl = Divergence(
    generator_function=lambda u: u * jnp.log(u),
    derivative=lambda u: 1.0 + jnp.log(u),
    conjugate=lambda t: jnp.exp(t - 1.0),
    activation=limit_exponent,
    conjugate_of_activation=lambda v: jnp.exp(limit_exponent(v) - 1.0),
    threshold=1.0,
    threshold_logit=1.0,
)
"""Kullback-Leibler, ``integral p log(p/q)``: covers the data. D is undecided at a logit of 1, not 0."""

reverse_kl = Divergence(
    generator_function=lambda u: -jnp.log(u),
    derivative=lambda u: -1.0 / u,
    conjugate=lambda t: -1.0 - jnp.log(-t),
    activation=lambda v: -jnp.exp(-_bounded_below(v)),
    conjugate_of_activation=lambda v: _bounded_below(v) - 1.0,
    threshold=-1.0,
)
"""Reverse Kullback-Leibler, ``integral q log(q/p)``: seeks modes. t < 0."""

jensen_shannon = Divergence(
    generator_function=lambda u: u * jnp.log(u) - (1.0 + u) * jnp.log((1.0 + u) / 2.0),
    derivative=lambda u: LOG_TWO - jnp.log1p(1.0 / u),
    conjugate=lambda t: -jnp.log(2.0 - jnp.exp(t)),
    activation=lambda v: LOG_TWO - jax.nn.softplus(-v),
    conjugate_of_activation=lambda v: jax.nn.softplus(v) - LOG_TWO,
    threshold=0.0,
)
"""``KL(P || M) + KL(Q || M)`` with M the half-and-half mixture: TWICE the usual Jensen-Shannon divergence.

This is what the paper's f gives, though its Table 1 prints the integral with a half. t < log 2.
"""

jeffrey = Divergence(
    generator_function=lambda u: (u - 1.0) * jnp.log(u),
    derivative=lambda u: 1.0 + jnp.log(u) - 1.0 / u,
    conjugate=lambda t: _jeffrey_conjugate(t),
    activation=limit_exponent,
    conjugate_of_activation=lambda v: _jeffrey_conjugate(limit_exponent(v)),
    threshold=0.0,
)
"""``KL(P || Q) + KL(Q || P) = integral (p - q) log(p/q)``. The conjugate needs a Lambert W function."""

pearson = Divergence(
    generator_function=lambda u: jnp.square(u - 1.0),
    derivative=lambda u: 2.0 * (u - 1.0),
    conjugate=lambda t: jnp.square(t) / 4.0 + t,
    activation=lambda v: v,
    conjugate_of_activation=lambda v: jnp.square(v) / 4.0 + v,
    threshold=0.0,
)
"""Pearson chi squared, ``integral (p - q)^2 / q``.

The conjugate is the paper's, that of the parabola on all of R: below t = -2 it lies above the supremum
over u >= 0, which is -1 there, and pushes D's logits back; the bound holds all the same.
"""

neyman = Divergence(
    generator_function=lambda u: jnp.square(1.0 - u) / u,
    derivative=lambda u: 1.0 - 1.0 / jnp.square(u),
    conjugate=lambda t: 2.0 - 2.0 * jnp.sqrt(1.0 - t),
    activation=lambda v: -jnp.expm1(-_bounded_below(v)),
    conjugate_of_activation=lambda v: -2.0 * jnp.expm1(-_bounded_below(v) / 2.0),
    threshold=0.0,
)
"""Neyman chi squared, ``integral (p - q)^2 / p``: Pearson's with P and Q swapped. t < 1."""

squared_hellinger = Divergence(
    generator_function=lambda u: jnp.square(jnp.sqrt(u) - 1.0),
    derivative=lambda u: 1.0 - jax.lax.rsqrt(u),
    conjugate=lambda t: t / (1.0 - t),
    activation=lambda v: -jnp.expm1(-_bounded_below(limit_exponent(v))),
    conjugate_of_activation=lambda v: jnp.expm1(_bounded_below(limit_exponent(v))),
    threshold=0.0,
)
"""``integral (sqrt(p) - sqrt(q))^2``, in [0, 2]: twice the Hellinger distance normalised to 1. t < 1."""

total_variation = Divergence(
    generator_function=lambda u: jnp.abs(u - 1.0) / 2.0,
    derivative=lambda u: jnp.sign(u - 1.0) / 2.0,
    conjugate=lambda t: t,
    activation=lambda v: jnp.tanh(v) / 2.0,
    conjugate_of_activation=lambda v: jnp.tanh(v) / 2.0,
    threshold=0.0,
)
"""``integral |p - q| / 2``, in [0, 1]. -1/2 <= t <= 1/2; the optimal T is reached at infinite logits."""

gan = Divergence(
    generator_function=lambda u: u * jnp.log(u) - (1.0 + u) * jnp.log1p(u),
    derivative=lambda u: -jnp.log1p(1.0 / u),
    conjugate=lambda t: -jnp.log(-jnp.expm1(t)),
    activation=lambda v: -jax.nn.softplus(-v),
    conjugate_of_activation=jax.nn.softplus,
    threshold=-LOG_TWO,
)
"""`jensen_shannon` less log 4: f(1) = -log 4. t < 0. The losses are those of `adversarial.minimax`, and with
`alternative` of `non_saturating`."""


@jax.custom_jvp
def log_wright_omega(z: Array) -> Array:
    """The x with ``exp(x) + x = z``: the logarithm of the Wright omega function, ``log W(exp(z))``; any shape.

    Lambert's W without the exponential, which overflows. Newton's method on a convex function, begun
    above the root, from where it descends: six steps reach float64.
    """
    x = jnp.where(z > 1.0, jnp.log(jnp.maximum(z, 1.0)), z)
    for _ in range(6):
        x = x - (jnp.exp(x) + x - z) / (1.0 + jnp.exp(x))
    return x


@log_wright_omega.defjvp
def _log_wright_omega_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    x = log_wright_omega(*primals)
    return x, tangents[0] / (1.0 + jnp.exp(x))


def _jeffrey_conjugate(t: Array) -> Array:
    # the maximising u has log u + 1 - 1/u = t, that is exp(x) + x = 1 - t for x = -log u, and then
    # f*(t) = u - 1 + log u; the paper's W(e^(1-t)) + 1/W(e^(1-t)) + t - 2 with W = 1/u
    x = log_wright_omega(1.0 - t)
    return jnp.expm1(-x) - x
