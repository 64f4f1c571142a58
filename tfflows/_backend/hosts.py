"""Many hosts that train together, with JAX; on TensorFlow there is one."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np


@contextlib.contextmanager
def single_host() -> Iterator[None]:
    """A context in which this host computes on its own devices alone, though it trains together with others."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def on_every_host(model: keras.Model, function: Callable[..., None], *batch: np.ndarray | None) -> None:
    """Runs `function(*batch)`, which assigns to variables of `model`, with equal results on all hosts.

    Args:
        model: whose variables the function assigns to.
        function: gets the whole batch.
        *batch: each host's share of one batch: arrays, or None.
    """
    if keras.backend.backend() == "tensorflow":
        function(*batch)
        return
    import jax

    if jax.process_count() == 1:
        function(*batch)
        return
    from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather

    batch = [x if x is None else process_allgather(np.asarray(x), tiled=True) for x in batch]
    with single_host():
        state = [(variable, jax.numpy.asarray(variable.numpy())) for variable in model.variables]
        with keras.StatelessScope(state_mapping=state) as scope:
            function(*batch)
        values = [np.asarray(scope.get_current_value(variable)) for variable in model.variables]
    # The first host's, since different machines may round differently.
    for variable, value in zip(model.variables, broadcast_one_to_all(values), strict=True):
        variable.assign(value)
