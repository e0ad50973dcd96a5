"""Layers that several architectures use."""

from collections.abc import Callable
from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

# A normalization is called as normalization(dtype=...)(x, train): one of the modules below.
Normalization = Callable[..., nn.Module]
# What lets D look at a batch together is called as minibatch(dtype=...)(features):
# MinibatchDiscrimination, MinibatchDeviation, or a partial of either.
Minibatch = Callable[..., nn.Module]


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last, with scale and shift.

    Couples the examples of a batch while training; uses running averages otherwise. Statistics in
    float32. On a batch sharded by jit they are those of the whole batch; under pmap and shard_map
    they are each device's own, and `make_step` averages the running ones.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            scale_init=lambda key, shape, dtype: 1.0 + 0.02 * jax.random.normal(key, shape, dtype),
        )(x)


class ConditionalBatchNorm(nn.Module):
    """Batch normalization whose scale and shift are told: ``(1 + A c) * standard(x) + B c`` for a condition c.

    x [batch, ..., channel], c [batch, n]; A and B [n, channel] without biases. For one-hot classes and the
    default start at zero, each class has a scale that begins at 1 and a shift that begins at 0, as in Miyato
    and Koyama, "cGANs with Projection Discriminator", 2018, arXiv 1802.05637, section 4 (after Dumoulin et
    al. 2017, arXiv 1610.07629). For an embedding shared by all layers, joined to latents, as in Brock et al.,
    "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, arXiv 1809.11096, appendix B.

    spectral: A and B are spectrally normalized, as in BigGAN; then they should not begin at zero, where
        there is no direction to keep: the first step would make them of norm 1.
    Statistics are those of `BatchNorm`, over the whole batch, not of each class.
    """

    spectral: bool = False
    kernel_init: Callable = nn.initializers.zeros_init()
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, condition: Array, train: bool) -> Array:
        def told() -> Array:
            layer = nn.Dense(x.shape[-1], use_bias=False, dtype=self.dtype, kernel_init=self.kernel_init)
            return weigh(layer, condition, train, self.spectral).reshape(x.shape[0], *(1,) * (x.ndim - 2), -1)

        standard = nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            use_bias=False,
            use_scale=False,
        )(x)
        scale = 1.0 + told()
        return scale * standard + told()


class LayerNorm(nn.Module):
    """Layer normalization over height, width and channels of each example, scale and shift per channel.

    Ba et al. 2016, arXiv 1607.06450, as WGAN-GP uses it in critics: examples stay independent.
    """

    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        axes = tuple(range(1, x.ndim))
        return nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, reduction_axes=axes, feature_axes=-1)(x)


class InstanceNorm(nn.Module):
    """Instance normalization over height and width of each channel of each example.

    Ulyanov et al. 2016, arXiv 1607.08022. affine: scale and shift per channel, as in StarGAN; pix2pix and
    CycleGAN have none. Needs positions: refuses vectors. Of a single position nothing is left but the shift.
    """

    affine: bool = False
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if x.ndim < 3:
            raise ValueError(f"instance normalization needs [batch, ..., channel] with positions, got {x.shape}")
        return nn.InstanceNorm(self.epsilon, self.dtype, use_bias=self.affine, use_scale=self.affine)(x)


class VirtualBatchNorm(nn.Module):
    """Batch normalization by the statistics of a fixed reference batch, with scale and shift per channel.

    The reference travels in front of the batch: the first `reference` rows of x are normalized with
    their own mean and variance over all axes but the last, every other row with those of the
    reference and itself, weighted n : 1 for a reference of n. So examples stay independent, in
    training and in use alike. Statistics in float32.

    reference: number of reference rows, at least 1; a generator with a `reference` sets it.

    Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv 1606.03498, section 3.5.
    The weights 1 / (n + 1) are those of the authors' code.
    """

    reference: int = 0
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        n = self.reference
        if not 1 <= n <= x.shape[0]:
            raise ValueError(
                f"virtual batch normalization needs its reference in front of the batch: "
                f"{n} reference rows of {x.shape[0]}; give the generator a `reference`"
            )
        y = x.astype(jnp.float32)
        positions = tuple(range(1, x.ndim - 1))
        own_mean = jnp.mean(y, axis=positions, keepdims=True)
        own_variance = jnp.var(y, axis=positions, keepdims=True)
        mean = jnp.mean(own_mean[:n], axis=0, keepdims=True)
        variance = jnp.mean(own_variance[:n] + jnp.square(own_mean[:n] - mean), axis=0, keepdims=True)

        # of two groups together: the mean of their variances and the variance of their means
        share = 1.0 / (n + 1)
        shift = own_mean[n:] - mean
        means = mean + share * shift
        variances = (1.0 - share) * variance + share * own_variance[n:] + share * (1.0 - share) * jnp.square(shift)
        means = jnp.concatenate([jnp.broadcast_to(mean, (n, *mean.shape[1:])), means])
        variances = jnp.concatenate([jnp.broadcast_to(variance, (n, *variance.shape[1:])), variances])

        per_channel = (1,) * (x.ndim - 1) + (-1,)
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],), jnp.float32).reshape(per_channel)
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],), jnp.float32).reshape(per_channel)
        return ((y - means) * jax.lax.rsqrt(variances + self.epsilon) * scale + bias).astype(self.dtype)


class SpectralNorm(nn.Module):
    """A layer whose "kernel" is divided by its largest singular value: ``SpectralNorm(nn.Dense(3))(x, train)``.

    The kernel [..., out] counts as the matrix W of `out` rows and all else as columns (a convolution
    is not the linear map of images to images, whose norm is another). One power iteration a pass,

        v <- W^T u / |W^T u|,   u <- W v / |W v|,   sigma = u^T W v,

    from the u [out] in the collection "spectral", which is kept in training only; u and v count as
    constants in gradients. The bias and other parameters of the layer are as they were, and so are the
    names of all: nets with and without spectral normalization have the same parameters.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, arXiv
    1802.05957, algorithm 1; gradients as in Eq. 12.
    """

    layer: nn.Module

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def normalized(variables: Any) -> Any:
            params = variables["params"]
            return {"params": {**params, "kernel": self._normalized(params["kernel"], train)}}

        apply = nn.map_variables(lambda layer: layer(x), "params", normalized, init=self.is_initializing())
        return apply(self.layer)

    def _normalized(self, kernel: Array, train: bool) -> Array:
        matrix = kernel.reshape(-1, kernel.shape[-1]).T
        start = lambda: _unit(jax.random.normal(self.make_rng("params"), (kernel.shape[-1],)))  # noqa: E731
        running = self.variable("spectral", "u", start)
        if self.is_initializing():
            return kernel  # flax would keep the divided kernel as the parameter
        fixed = jax.lax.stop_gradient(matrix)
        v = _unit(fixed.T @ running.value)
        u = _unit(fixed @ v)
        if train:
            running.value = u
        sigma = u @ matrix @ v
        return kernel / jnp.where(sigma > 0, sigma, 1.0)


def _unit(vector: Array) -> Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)


def weigh(layer: nn.Module, x: Array, train: bool, spectral: bool) -> Array:
    """What a layer with a "kernel" makes of x, spectrally normalized or as it is; for compact methods."""
    return SpectralNorm(layer)(x, train) if spectral else layer(x)


class Equalized(nn.Module):
    """A layer with an equalised learning rate: ``Equalized(nn.Dense(3, kernel_init=nn.initializers.normal(1.0)))(x)``.

    The kernel [..., in, out] is used as ``gain / sqrt(fan in) * multiplier * kernel`` and the bias as
    ``multiplier * bias``, so that kernels that start from N(0, 1 / multiplier^2) have the deviation of He
    et al. and all layers learn at one relative speed, `multiplier` times that of the others. Names of the
    parameters are the layer's own.

    Karras et al., "Progressive Growing of GANs", 2018, arXiv 1710.10196, section 4.1 (gain sqrt(2), 1 in
    the last layers); the multiplier is StyleGAN's (2019, arXiv 1812.04948, appendix C: 0.01 in the mapping).
    """

    layer: nn.Module
    gain: float = 2.0**0.5
    multiplier: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        def scaled(variables: Any) -> Any:
            if self.is_initializing():
                return variables  # flax would keep the scaled kernel as the parameter
            params = dict(variables["params"])
            fan_in = prod(params["kernel"].shape[:-1])
            params["kernel"] = params["kernel"] * (self.gain * self.multiplier / fan_in**0.5)
            if "bias" in params:
                params["bias"] = params["bias"] * self.multiplier
            return {"params": params}

        return nn.map_variables(lambda layer: layer(x), "params", scaled, init=self.is_initializing())(self.layer)


class SelfAttention(nn.Module):
    """images [batch, height, width, c] -> the same shape: ``x + gamma * o``, each position a mean of all others'.

        o_j = V sum_i softmax_i(f(x_i) . g(x_j)) h(x_i)

    f, g: 1x1 convolutions to c / 8 channels, h: to c / 2, V: from c / 2 to c, all without biases; keys f and
    values h are max-pooled 2x2 (where both sides have 2 or more). gamma is one number that begins at 0. No
    division by the root of the dimension, unlike in transformers. spectral: of all four kernels.

    Zhang et al., "Self-Attention Generative Adversarial Networks", 2019, arXiv 1805.08318, Eqs. 1 to 3. The
    paper has c / 8 channels in h as well, and does not speak of pooling; c / 2 and pooling are those of its
    authors' code and of BigGAN's.
    """

    spectral: bool = False
    kernel_init: Callable = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        batch, height, width, channels = x.shape

        def project(x: Array, features: int, name: str) -> Array:
            layer = nn.Dense(features, use_bias=False, dtype=self.dtype, kernel_init=self.kernel_init, name=name)
            return weigh(layer, x, train, self.spectral)

        narrow, half = max(1, channels // 8), max(1, channels // 2)
        query = project(x, narrow, "query").reshape(batch, height * width, narrow)
        key = _max_pooled(project(x, narrow, "key")).reshape(batch, -1, narrow)
        value = _max_pooled(project(x, half, "value")).reshape(batch, -1, half)
        # scores of half precision would round the exponents
        scores = jnp.einsum("bjc,bic->bji", query, key, preferred_element_type=jnp.float32)
        mean = jax.nn.softmax(scores, axis=-1).astype(self.dtype) @ value
        seen = project(mean.reshape(batch, height, width, half), channels, "output")
        gamma = self.param("gamma", nn.initializers.zeros_init(), (), jnp.float32)
        return x + gamma.astype(self.dtype) * seen


def _max_pooled(x: Array) -> Array:
    """The largest of each 2x2 pixels; an odd last row or column is left out. Strided slices: faster on CPU."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    if not height or not width:
        return x
    rows = jnp.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return jnp.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


class Maxout(nn.Module):
    """[batch, in] -> [batch, units]: each unit the largest of `pieces` linear functions of x.

    Goodfellow et al., "Maxout Networks", 2013, arXiv 1302.4389, section 3.
    """

    units: int
    pieces: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = self.units * self.pieces
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], size), jnp.float32)
        linear = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (size,), jnp.float32)
            linear = linear + bias.astype(self.dtype).reshape(1, -1)
        return jnp.max(linear.reshape(-1, self.units, self.pieces), axis=-1)


class MinibatchDiscrimination(nn.Module):
    """features [batch, in] -> [batch, in + kernels]: how close each example is to the others, appended.

        o(x_i)_b = sum over j != i of exp(-|M_ib - M_jb|_1),   M_i = T x_i as a matrix [kernels, dimension].

    Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv 1606.03498, section 3.2. The
    paper's sum includes j = i, a constant 1; like the authors' code this one does not. Couples the
    examples of a batch, in training and in use.
    """

    kernels: int = 100
    dimension: int = 5
    kernel_init: Callable = nn.initializers.normal(0.05)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Array) -> Array:
        shape = (features.shape[-1], self.kernels * self.dimension)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        # distances in float32: differences of close numbers
        m = (features.astype(self.dtype) @ kernel).astype(jnp.float32).reshape(-1, self.kernels, self.dimension)
        # one [kernels, batch, batch] term a dimension: a reduction over so short an axis is many times slower on CPU
        rows = jnp.transpose(m, (2, 1, 0))
        distances = sum(jnp.abs(r[:, :, None] - r[:, None, :]) for r in rows)
        others = 1.0 - jnp.eye(m.shape[0])[None]
        closeness = jnp.sum(others * jnp.exp(-distances), axis=-1).T
        return jnp.concatenate([features.astype(self.dtype), closeness.astype(self.dtype)], axis=-1)


class MinibatchDeviation(nn.Module):
    """`minibatch_deviation` as a layer without parameters: [batch, ..., channel] -> [batch, ..., channel + 1]."""

    group: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Array) -> Array:
        return minibatch_deviation(features, self.group).astype(self.dtype)


def minibatch_deviation(x: Array, group: int | None = None, per_pixel: bool = False) -> Array:
    """How much the examples of a batch differ, as further channels: [batch, ..., c] -> [batch, ..., c + 1].

    The standard deviation over the batch (that of the population, ``sqrt(variance + 1e-8)``, whose
    gradient is finite where all are equal) of each feature at each position, then the mean of all:
    one number, the same at every position and for every example. With `per_pixel` no mean is taken,
    and the deviations are c further channels, [batch, ..., 2 c]: for the input of D.

    group: examples are compared in groups of this size, which divides the batch (example i is in
        group i modulo batch / group, as in the authors' code, whose default is 4); None for all.

    Karras et al., "Progressive Growing of GANs", 2018, arXiv 1710.10196, section 3.
    """
    batch = x.shape[0]
    size = group or batch
    if size < 1 or batch % size:
        raise ValueError(f"a batch of {batch} does not divide into groups of {size}")
    grouped = x.astype(jnp.float32).reshape(size, batch // size, *x.shape[1:])
    deviation = jnp.sqrt(jnp.var(grouped, axis=0) + 1e-8)
    if not per_pixel:
        deviation = jnp.mean(deviation, axis=tuple(range(1, x.ndim)), keepdims=True)
        deviation = jnp.broadcast_to(deviation, (*deviation.shape[:1], *x.shape[1:-1], 1))
    appended = jnp.tile(deviation, (size,) + (1,) * (x.ndim - 1))
    return jnp.concatenate([x, appended.astype(x.dtype)], axis=-1)


def dropout(x: Array, rate: float, train: bool) -> Array:
    """x with a share `rate` of its numbers zero and the others divided by 1 - rate, in training; for compact methods.

    Drawn from the "noise" stream. Srivastava et al., "Dropout", JMLR 2014.
    """
    return nn.Dropout(rate, deterministic=not train, rng_collection="noise")(x)


def leaky_relu(x: Array, slope: float = 0.2) -> Array:
    """max(x, slope x); 0.2 is the slope of DCGAN's discriminator."""
    return nn.leaky_relu(x, slope)


def pixel_norm(x: Array, epsilon: float = 1e-8) -> Array:
    """``x / sqrt(mean(x^2) + epsilon)`` over the last axis: each pixel's vector, or a latent, of unit mean square.

    Karras et al., "Progressive Growing of GANs", 2018, arXiv 1710.10196, section 4.2. In float32, returned
    in the type of x. No mean is subtracted, unlike in layer normalization.
    """
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + epsilon)).astype(x.dtype)
