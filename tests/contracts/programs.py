"""Programs of the contract tests run a few times only: they are compiled fast, where the compiler knows how."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def _options() -> dict[str, Any]:
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x).lower(jax.ShapeDtypeStruct((), jnp.int32)).compile(options)
    except Exception:
        return {}
    return options


OPTIONS = _options()
jit = partial(jax.jit, compiler_options=OPTIONS)
