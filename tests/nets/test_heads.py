import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt
from jaxgan.nets.heads import Codes, Linear
from jaxgan.nets.layers import BatchNorm, LayerNorm

FEATURES = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def filled(net, seed=1):
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.2, 1.0, leaf.shape) - 0.4, leaf.dtype), shapes)


def test_a_linear_head():
    net = adapt(Linear(3), (5,))
    variables = filled(net)
    output, changed = net.apply(variables, FEATURES)
    dense = variables["params"]["Dense_0"]
    np.testing.assert_allclose(output, FEATURES @ dense["kernel"] + dense["bias"][None], rtol=1e-5, atol=1e-6)
    assert changed == {}


@pytest.mark.parametrize("normalization", [None, LayerNorm])
def test_codes_are_read_off_one_hidden_layer(normalization):
    net = adapt(Codes(3, 2, width=7, normalization=normalization, slope=0.05), (5,))
    variables = filled(net)
    (logits, means), _ = net.apply(variables, FEATURES, train=False)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    first, last = params["Dense_0"], params["Dense_1"]
    hidden = FEATURES @ first["kernel"]
    if normalization is None:
        hidden = hidden + first["bias"]
    else:
        assert "bias" not in first
        norm = params["LayerNorm_0"]["LayerNorm_0"]
        hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
        hidden = hidden * norm["scale"] + norm["bias"]
    assert (hidden < 0).any()
    outputs = np.where(hidden > 0, hidden, 0.05 * hidden) @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(np.concatenate([logits, means], 1), outputs, rtol=1e-4, atol=1e-5)
    assert logits.shape == (6, 3) and means.shape == (6, 2)


def test_batch_normalization_couples_and_runs_and_half_precision_stays_inside():
    net = adapt(Codes(3, 2, width=7, normalization=BatchNorm), (5,), couples_batch=True)
    variables = net.init(jax.random.key(0))
    (one, _), changed = net.apply(variables, FEATURES)
    (other, _), _ = net.apply(variables, np.concatenate([FEATURES[:5], FEATURES[5:] + 3]))
    assert np.abs(one - other)[0].max() > 1e-5 and set(changed) == {"batch_stats"}
    for module in (Linear(3, dtype=jnp.bfloat16), Codes(3, 2, dtype=jnp.bfloat16)):
        half = adapt(module, (5,))
        leaves = jax.tree.leaves(half.apply(half.init(jax.random.key(0)), FEATURES)[0])
        assert all(leaf.dtype == jnp.float32 for leaf in leaves)
