"""Training on many devices, by the engines of TensorFlow and of Keras on JAX."""

import contextlib

import keras
import numpy as np

from tfflows.errors import InputError, StoreError

STRATEGIES = ("mirrored", "tpu")


def strategy_scope(name=None):
    """The context in which a model is built for training on the devices of one host, with TensorFlow.

    Each device takes its share of every batch. "mirrored" is `tf.distribute.MirroredStrategy` on all GPUs (on all
    logical CPUs where there is none), "tpu" is `tf.distribute.TPUStrategy`, None one device.
    """
    if name is None:
        return contextlib.nullcontext()
    if name not in STRATEGIES:
        raise InputError(f"strategy is {name!r}, expected {' or '.join(STRATEGIES)}")
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"strategy {name!r} is TensorFlow's and Keras runs on {keras.backend.backend()}: "
            "give all addresses by `hosts`, which takes one host too, or set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver).scope()


def join_hosts(hosts, index):
    """Join the processes of many hosts, with JAX: models built from now on are trained by all of them together.

    Args:
        hosts: the addresses of all processes, "HOST:PORT"; the first coordinates.
        index: which of them this process is.
    """
    if keras.backend.backend() != "jax":
        raise InputError(
            f"hosts are for JAX and Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax (the fit of "
            "Keras 3 fails under TensorFlow's MultiWorkerMirroredStrategy)"
        )
    if not 0 <= index < len(hosts):
        raise InputError(f"host_index is {index}, expected 0 to {len(hosts) - 1}: there are {len(hosts)} hosts")
    keras.distribution.initialize(",".join(hosts) if len(hosts) > 1 else hosts[0], len(hosts), index)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def leave_hosts():
    """The end of what began with `join_hosts`: every process computes by itself again."""
    import jax

    keras.distribution.set_distribution(None)
    jax.distributed.shutdown()


def agreed(number, what):
    """`number`, if it is the same on all hosts; otherwise a `StoreError` on all of them."""
    if keras.backend.backend() == "tensorflow":
        return number
    from jax.experimental.multihost_utils import process_allgather

    found = np.unique(process_allgather(np.int32(number))).tolist()
    if len(found) > 1:
        raise StoreError(f"the hosts find {' and '.join(map(str, found))} {what}: give all of them the same folder")
    return number
