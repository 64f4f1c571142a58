"""Training on many devices: many hosts with JAX, and the replicas of one host with TensorFlow."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor


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


def row_numbers(x: Tensor) -> Tensor:
    """Returns the place, int32 [B], of each row of x [B, ...] in the batch of all devices.

    JAX's devices see one array; TensorFlow's replicas each have their part of the batch, in order.
    """
    rows = ops.arange(ops.shape(x)[0], dtype="int32")
    if keras.backend.backend() != "tensorflow":
        return rows
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    # The last batch may be shared unevenly: each replica tells its size.
    replica = context.replica_id_in_sync_group
    own_size = tf.one_hot(replica, context.num_replicas_in_sync, dtype=tf.int32) * tf.shape(x)[0]
    sizes = context.all_reduce(tf.distribute.ReduceOp.SUM, own_size)
    return rows + tf.cumsum(sizes, exclusive=True)[replica]
