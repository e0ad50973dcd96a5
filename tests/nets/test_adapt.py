from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt, rematerialized


class Told(nn.Module):
    """Two inputs, noise, and a count of calls."""

    @nn.compact
    def __call__(self, x, label, train=True):
        calls = self.variable("count", "calls", lambda: jnp.zeros(()))
        if train:
            calls.value = calls.value + 1.0
            x = x + jax.random.normal(self.make_rng("noise"), x.shape)
        return nn.Dense(3)(x) + label.reshape(-1, 1), calls.value


def test_inputs_key_and_running_variables_pass_through():
    net = adapt(Told(), (2,), (), couples_batch=True)
    assert net.couples_batch and not adapt(Told(), (2,), ()).couples_batch
    variables = net.init(jax.random.key(0))
    assert set(variables) == {"params", "count"}
    x, label, key = jnp.ones((4, 2)), jnp.arange(4.0), jax.random.key(1)
    (y, calls), changed = net.apply(variables, x, label, key=key)
    assert calls == variables["count"]["calls"] + 1 and changed["count"]["calls"] == calls
    (again, _), _ = net.apply(variables, x, label, key=key)
    (other, _), _ = net.apply(variables, x, label, key=jax.random.key(2))
    np.testing.assert_array_equal(y, again)
    assert not np.allclose(y, other)
    (still, _), unchanged = net.apply(variables, x, label, train=False)
    assert not unchanged
    kernel, bias = variables["params"]["Dense_0"]["kernel"], variables["params"]["Dense_0"]["bias"]
    np.testing.assert_allclose(
        still, np.ones((4, 2)) @ np.asarray(kernel) + np.asarray(bias) + np.arange(4)[:, None], rtol=1e-5
    )


def test_a_net_that_draws_needs_a_key():
    net = adapt(Told(), (2,), ())
    with pytest.raises(Exception, match="noise"):
        net.apply(net.init(jax.random.key(0)), jnp.ones((4, 2)), jnp.ones(4))


def test_the_key_decides_the_parameters():
    net = adapt(Told(), (2,), ())
    first, same, other = (net.init(jax.random.key(seed))["params"]["Dense_0"]["kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


class Shown(nn.Module):
    """A discriminator with running variables, noise and a fixed reference that shows its hidden activations."""

    @nn.compact
    def __call__(self, x, train=True):
        reference = self.variable("reference", "latent", lambda: jax.random.normal(self.make_rng("params"), (1, 2)))
        x = nn.BatchNorm(use_running_average=not train)(x + reference.value)
        x = nn.Dropout(0.5, deterministic=not train, rng_collection="noise")(x)
        self.sow("intermediates", "features", x.astype(jnp.bfloat16).reshape(-1, 2, 1))
        return jnp.sum(x, axis=1)


def test_features_are_what_the_module_sows():
    net = adapt(Shown(), (2,), couples_batch=True)
    variables = net.init(jax.random.key(0))
    assert set(variables) == {"params", "batch_stats", "reference"}
    x, key = jax.random.normal(jax.random.key(1), (5, 2)), jax.random.key(2)
    for train in (True, False):
        (seen, features), also_changed = net.features(variables, x, key=key, train=train)
        output, changed = net.apply(variables, x, key=key, train=train)
        np.testing.assert_array_equal(seen, output)
        jax.tree.map(np.testing.assert_array_equal, also_changed, changed)
        assert features.shape == (5, 2) and features.dtype == jnp.float32
        np.testing.assert_allclose(np.sum(features, axis=1), output, rtol=0.02, atol=0.02)
        assert set(changed) == ({"batch_stats"} if train else set())  # neither features nor the reference
    gradient = jax.grad(lambda x: jnp.sum(net.features(variables, x, train=False)[0][1] ** 2))(x)
    assert np.any(gradient)


class Mapped(nn.Module):
    """A net from pictures to pictures that shows two maps of different sizes, and has running variables."""

    @nn.compact
    def __call__(self, x, train=True):
        self.sow("intermediates", "maps", x)
        y = nn.BatchNorm(use_running_average=not train)(x[:, ::2].astype(jnp.bfloat16))
        self.sow("intermediates", "maps", y)
        return jnp.tanh(x)


def test_maps_are_a_tuple_as_they_are():
    net = adapt(Mapped(), (4, 3, 2), couples_batch=True)
    variables, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (5, 4, 3, 2))
    assert set(variables) == {"params", "batch_stats"}
    for train in (True, False):
        (output, maps), changed = net.features(variables, x, train=train)
        assert isinstance(maps, tuple) and [m.shape for m in maps] == [(5, 4, 3, 2), (5, 2, 3, 2)]
        assert all(m.dtype == jnp.float32 for m in maps)
        np.testing.assert_array_equal(maps[0], x)
        np.testing.assert_array_equal(output, net.apply(variables, x, train=train)[0])
        assert set(changed) == ({"batch_stats"} if train else set())
    again = rematerialized(net).features(variables, x)[0][1]
    jax.tree.map(np.testing.assert_array_equal, again, net.features(variables, x)[0][1])


def test_what_is_sown_costs_nothing_where_nobody_asks():
    net = adapt(Shown(), (2,))
    variables = net.init(jax.random.key(0))
    for function, shown in ((net.apply, False), (net.features, True)):
        program = jax.jit(partial(function, variables, key=jax.random.key(0))).lower(jnp.ones((3, 2))).compile()
        assert ("bf16" in program.as_text()) == shown


def test_a_module_that_sows_none_shows_no_features():
    net = adapt(Told(), (2,), ())
    variables, inputs = net.init(jax.random.key(0)), (jnp.ones((4, 2)), jnp.ones(4))
    (output, features), _ = net.features(variables, *inputs, key=jax.random.key(1))
    assert features is None
    again = net.apply(variables, *inputs, key=jax.random.key(1))[0]
    jax.tree.map(np.testing.assert_array_equal, output, again)


def test_the_reference_is_drawn_with_the_parameters_and_stays():
    net = adapt(Shown(), (2,))
    first, same, other = (net.init(jax.random.key(seed))["reference"]["latent"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


def test_a_rematerialized_net_is_the_same_and_runs_forward_once_more():
    net = adapt(Shown(), (2,), couples_batch=True)
    again = rematerialized(net)
    variables, x, key = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (5, 2)), jax.random.key(2)

    def loss(of, params):
        (output, features), changed = of.features({**variables, "params": params}, x, key=key)
        return jnp.sum(jnp.tanh(output) ** 2) + jnp.sum(features**3), changed

    for wanted, found in zip(
        *(
            jax.tree.leaves(jax.value_and_grad(lambda p, n=n: loss(n, p), has_aux=True)(variables["params"]))
            for n in (net, again)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(again.apply(variables, x, train=False)[0], net.apply(variables, x, train=False)[0])
    text = str(jax.make_jaxpr(jax.grad(lambda p: loss(again, p)[0]))(variables["params"]))
    assert "remat" in text or "checkpoint" in text
