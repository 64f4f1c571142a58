"""Training on many devices, by the engines of TensorFlow and of Keras on JAX."""

import contextlib
import threading
import types
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from tfflows.errors import InputError, StoreError

STRATEGIES = ("mirrored", "tpu")
_FOLDING = types.SimpleNamespace(lock=threading.Lock(), trainings=0, before=True)


def strategy_scope(name: str | None = None) -> contextlib.AbstractContextManager:
    """Returns the context in which a model is built for training on the devices of one host, with TensorFlow.

    Each device takes its share of every batch.

    Args:
        name: "mirrored" for `tf.distribute.MirroredStrategy` on all GPUs (on all logical CPUs where there is none),
            "tpu" for `tf.distribute.TPUStrategy`, None for one device.

    Raises:
        InputError: there is no such strategy, or Keras does not run on TensorFlow.
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


@contextlib.contextmanager
def without_constant_folding() -> Iterator[None]:
    """A context in which TensorFlow's graph optimizer does not look for constants to fold; nothing on JAX.

    In the graph of a training step it finds next to none, in a time that grows faster than the graph: a third of the
    first step of 96 flow steps (benchmarks/README.md). The option belongs to the process: it is set back when the last
    of the trainings that run at the same time ends.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    options = tf.config.optimizer
    with _FOLDING.lock:
        if not _FOLDING.trainings:
            _FOLDING.before = options.get_experimental_options().get("constant_folding", True)
            options.set_experimental_options({"constant_folding": False})
        _FOLDING.trainings += 1
    try:
        yield
    finally:
        with _FOLDING.lock:
            _FOLDING.trainings -= 1
            if not _FOLDING.trainings:
                options.set_experimental_options({"constant_folding": _FOLDING.before})


def join_hosts(hosts: Sequence[str], index: int) -> None:
    """Joins the processes of many hosts, with JAX: models built from now on are trained by all of them together.

    Args:
        hosts: the addresses of all processes, "HOST:PORT"; the first coordinates.
        index: which of them this process is.

    Raises:
        InputError: Keras does not run on JAX, or `index` is out of range.
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


def leave_hosts() -> None:
    """Ends what `join_hosts` began: every process computes by itself again."""
    import jax

    keras.distribution.set_distribution(None)
    jax.distributed.shutdown()


def agreed(number: int, what: str) -> int:
    """Returns `number` if it is the same on all hosts.

    Args:
        number: what this host found.
        what: it is a number of, for the message.

    Raises:
        StoreError: the hosts found different numbers; raised on all of them.
    """
    if keras.backend.backend() == "tensorflow":
        return number
    from jax.experimental.multihost_utils import process_allgather

    found = np.unique(process_allgather(np.int32(number))).tolist()
    if len(found) > 1:
        raise StoreError(f"the hosts find {' and '.join(map(str, found))} {what}: give all of them the same folder")
    return number
