"""For the whole suite: eight devices on the CPU, strict broadcasting, and no writing to anybody's home."""

import os
from collections.abc import Iterator

# before the backend starts. Nothing here runs long enough to pay for an optimising compiler.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# in use from here on, so that no test changes the number of devices for those after it
assert len(jax.devices("cpu")) == 8


@pytest.fixture(scope="session", autouse=True)
def _no_traces_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches and data sets are made in a folder of this session, once for all of its tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JAXGAN_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _programs_are_forgotten() -> Iterator[None]:
    """Compiled programs map memory, and a process may hold 65,530 maps: over the whole suite they run out."""
    yield
    jax.clear_caches()
