"""Precision of computation inside the nets. Parameters, logits and images stay float32."""

import jax.numpy as jnp

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
