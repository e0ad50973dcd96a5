import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt


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
