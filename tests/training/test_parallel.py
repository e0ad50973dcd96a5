import os
import subprocess
import sys
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxgan.training import parallel


@pytest.mark.parametrize(
    ("platform", "requested", "batch_size", "expected"),
    [
        ("gpu", None, 64, 8),
        ("gpu", None, 12, 6),
        ("gpu", None, 7, 7),
        ("tpu", None, 13, 1),
        ("gpu", 2, 64, 2),
        ("cpu", None, 64, 1),
        ("cpu", 4, 64, 4),
        ("cpu", 8, 8, 8),
    ],
)
def test_devices_are_as_many_as_help_and_divide_the_batch(platform, requested, batch_size, expected, monkeypatch):
    devices = [SimpleNamespace(platform=platform, id=i) for i in range(8)]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert parallel.choose_devices(requested, batch_size) == devices[:expected]


@pytest.mark.parametrize(
    ("requested", "batch_size", "message"),
    [
        (9, 18, "--devices 9: this machine offers 1 to 8 \\(cpu\\)"),
        (0, 8, "offers 1 to 8"),
        (3, 64, "does not divide the batch of 64"),
    ],
)
def test_devices_that_cannot_be_had_are_refused(requested, batch_size, message):
    with pytest.raises(ValueError, match=message):
        parallel.choose_devices(requested, batch_size)


def test_a_batch_is_split_and_a_state_repeated():
    mesh = parallel.data_mesh(jax.devices()[:4])
    assert mesh.axis_names == (parallel.AXIS,) and mesh.size == 4
    batch = {"image": np.arange(16.0, dtype=np.float32).reshape(8, 2), "label": np.arange(8)}
    laid = jax.jit(lambda b: parallel.shard_batch(b, mesh))(batch)
    for name, value in laid.items():
        assert value.sharding.spec == PartitionSpec(parallel.AXIS)
        for d, shard in enumerate(value.addressable_shards):
            np.testing.assert_array_equal(shard.data, batch[name][2 * d : 2 * d + 2])
    whole = jax.device_put(batch, parallel.replicated(mesh))
    assert all(shard.data.shape == (8, 2) for shard in whole["image"].addressable_shards)


def test_replicate_repeats_every_leaf_keys_too():
    copies = parallel.replicate({"key": jax.random.key(3), "x": jnp.arange(2)}, 3)
    assert copies["key"].shape == (3,) and copies["x"].shape == (3, 2)
    np.testing.assert_array_equal(jax.random.key_data(copies["key"])[2], jax.random.key_data(jax.random.key(3)))


def convolve(x):
    return nn.Conv(2, (3, 3)).init_with_output(jax.random.key(0), x)[0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: convolve(x), True),
        (lambda x: x @ jnp.ones((3, 2)), False),
        (jax.jit(convolve), True),
        (jax.grad(lambda x: jnp.sum(convolve(x))), True),
        (jax.checkpoint(lambda x: jnp.sum(convolve(x))), True),
        (lambda x: jax.lax.cond(x[0, 0, 0, 0] > 0, lambda x: jnp.sum(x), lambda x: jnp.sum(convolve(x)), x), True),
        (lambda x: jax.lax.scan(lambda c, _: (c, jnp.sum(convolve(x))), 0.0, None, length=2), True),
        (lambda x: jax.lax.fori_loop(0, 3, lambda _, c: c + jnp.sum(convolve(x)), 0.0), True),
        (lambda x: jax.lax.cond(x[0, 0, 0, 0] > 0, lambda x: jnp.sum(x), lambda x: jnp.sum(x * x), x), False),
    ],
)
def test_convolutions_are_found_however_deep(function, expected):
    assert parallel.contains_convolution(jax.make_jaxpr(function)(jnp.ones((1, 4, 4, 3)))) == expected


def test_compiler_options_are_ones_the_compiler_takes():
    assert parallel.compiler_options("gpu", 1) is None and parallel.compiler_options("cpu", 2) is None
    options = parallel.compiler_options("cpu", 1)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_compiler_options_that_the_compiler_does_not_know_are_left_out(monkeypatch):
    class Compiler:
        def lower(self, *arguments):
            return self

        def compile(self, options):
            raise RuntimeError("no such option")

    monkeypatch.setattr(jax, "jit", lambda function: Compiler())
    assert parallel.compiler_options("cpu", 1) is None


REPORT = """
import jax
from jaxgan.training.parallel import configure_backend
configure_backend()
print(len(jax.devices()), jax.config.jax_compilation_cache_dir)
configure_backend()  # too late for devices, and no error
"""


@pytest.mark.parametrize(
    ("set_by_hand", "devices", "cache"),
    [
        ({}, None, "{cache}/jaxgan/xla"),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3, "{cache}/jaxgan/xla"),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5, "{cache}/jaxgan/xla"),
        ({"JAX_COMPILATION_CACHE_DIR": "elsewhere"}, None, "elsewhere"),
    ],
)
def test_the_backend_is_configured_unless_by_hand(tmp_path, set_by_hand, devices, cache):
    ours = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"} | set_by_hand
    run = subprocess.run([sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    count, directory = run.stdout.split()
    if devices is None:
        devices = min(len(os.sched_getaffinity(0)), 8) if hasattr(os, "sched_getaffinity") else 1
    assert int(count) == devices and directory == cache.format(cache=tmp_path)
