from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt, in_parts, num_features, rematerialized


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


# -- several nets as one ----------------------------------------------------------------------------


class Plain(nn.Module):
    """No running variables; shows twice its input. Noise in training, where there is a key."""

    @nn.compact
    def __call__(self, x, train=True):
        self.sow("intermediates", "features", 2.0 * x)
        y = nn.Dense(1)(x)
        return (y + jax.random.normal(self.make_rng("noise"), y.shape) if self.has_rng("noise") else y)[:, 0]


def test_nets_in_parts_are_the_nets_on_their_parts_of_a_batch_in_order():
    nets = {"b": adapt(Shown(), (2,), couples_batch=True), "a": adapt(Plain(), (2,)), "c": adapt(Plain(), (2,))}
    net = in_parts(nets)
    variables = net.init(jax.random.key(0))
    assert {name: set(values) for name, values in variables.items()} == {
        "params": {"b", "a", "c"},
        "batch_stats": {"b"},
        "reference": {"b"},
    }
    own = {name: {c: values[name] for c, values in variables.items() if name in values} for name in nets}
    for name, one in nets.items():
        assert jax.tree.structure(own[name]) == jax.tree.structure(dict(one.init(jax.random.key(0))))
    # two nets of one kind begin as two
    a, c = (variables["params"][name]["Dense_0"]["kernel"] for name in "ac")
    assert np.abs(a - c).min() > 1e-3

    x = jax.random.normal(jax.random.key(1), (12, 2)) * jnp.arange(1.0, 13.0)[:, None]
    output, changed = net.apply(variables, x, train=False)
    parts = {"b": x[:4], "a": x[4:8], "c": x[8:]}
    expected = np.concatenate([nets[name].apply(own[name], part, train=False)[0] for name, part in parts.items()])
    np.testing.assert_array_equal(output, expected)
    assert output.shape == (12,) and not changed

    # in training: each with a key of its own, statistics of its own part, and a reference that stays
    key = jax.random.key(2)
    output, changed = net.apply(variables, x, key=key)
    assert set(changed) == {"batch_stats"} and set(changed["batch_stats"]) == {"b"}
    (statistics,) = changed["batch_stats"]["b"].values()
    seen = np.asarray(x[:4] + variables["reference"]["b"]["latent"])
    np.testing.assert_allclose(statistics["mean"], 0.01 * seen.mean(0), rtol=1e-4)
    noise = {
        name: np.asarray(output[4 * i : 4 * i + 4] - nets[name].apply(own[name], parts[name], train=False)[0])
        for i, name in ((1, "a"), (2, "c"))
    }
    assert np.abs(noise["a"]).min() > 1e-3 and np.abs(noise["a"] - noise["c"]).min() > 1e-3
    np.testing.assert_array_equal(output, net.apply(variables, x, key=key)[0])

    # features, each from its part, of the same pass
    (again, shown), also = net.features(variables, x, key=key)
    np.testing.assert_array_equal(again, output)
    jax.tree.map(np.testing.assert_array_equal, also, changed)
    np.testing.assert_array_equal(shown[4:], 2 * x[4:])
    assert shown.shape == (12, 2) and num_features(nets["a"], (2,)) == 2


def test_running_variables_of_nets_that_keep_none_in_a_pass_go_on():
    """One net counts and the other does not: in use nothing changes, in training one entry does and both are there."""
    nets = {"first": adapt(Mapped(), (4, 3, 2), couples_batch=True), "second": adapt(Mapped(), (4, 3, 2))}
    net = in_parts(nets)
    variables, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (6, 4, 3, 2))
    (_, maps), changed = net.features(variables, x)
    assert [m.shape for m in maps] == [(6, 4, 3, 2), (6, 2, 3, 2)]
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(dict(variables["batch_stats"]))
    for k, name in enumerate(nets):
        alone = nets[name].features({c: values[name] for c, values in variables.items()}, x[3 * k : 3 * k + 3])
        np.testing.assert_array_equal(maps[1][3 * k : 3 * k + 3], alone[0][1][1])
        jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"][name], alone[1]["batch_stats"])


class Doubled(nn.Module):
    @nn.compact
    def __call__(self, x, label, train=True):
        return nn.Dense(1)(x) + label


def test_all_inputs_are_parted_and_a_batch_that_does_not_divide_is_refused():
    net = in_parts({name: adapt(Doubled(), (2,), (1,)) for name in "ab"})
    variables, x, label = net.init(jax.random.key(0)), jnp.ones((6, 2)), jnp.arange(6.0)[:, None]
    output = net.apply(variables, x, label)[0]
    np.testing.assert_allclose((output - net.apply(variables, x, 0 * label)[0])[:, 0], np.arange(6), atol=1e-5)
    with pytest.raises(ValueError, match="2 nets do not divide a batch of 5"):
        net.apply(variables, x[:5], label[:5])


def test_parts_couple_a_batch_if_one_of_them_does_and_show_features_if_all_do():
    coupled, plain = adapt(Shown(), (2,), couples_batch=True), adapt(Plain(), (2,))
    assert in_parts({"a": plain, "b": coupled}).couples_batch and not in_parts({"a": plain, "b": plain}).couples_batch
    silent = replace(plain, features=None)
    assert in_parts({"a": plain, "b": silent}).features is None
