"""Random numbers that depend on a key alone, and not on the batch, the device, the backend or the compiler.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3")
in uint32 operations. A key is a pair of uint32 arrays of shape [B]: an image or a sample has its own key, so that
its numbers are the same whatever batch it comes in, on TensorFlow and on JAX, compiled or not. There are engines for
exported models (OpenVINO) that hold uint32 as int32 and sum integers as floats. The operations here are right in those
too, hence the masks after shifts, the sum by halves and no factor above 2^31.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

Key = tuple[Tensor, Tensor]  # two arrays [B] of uint32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def _high_bits(x: Tensor, bits: int) -> Tensor:
    """Returns the highest `bits` bits of x, as an integer."""
    return ops.bitwise_and(ops.right_shift(x, np.uint32(32 - bits)), np.uint32(2**bits - 1))


def _rotate_left(x: Tensor, bits: int) -> Tensor:
    return ops.bitwise_or(ops.left_shift(x, np.uint32(bits)), _high_bits(x, bits))


def threefry(key: Key, counter: Key) -> Key:
    """Returns two words [*shape] of uint32; `key` and `counter` are pairs of uint32 arrays that broadcast to shape."""
    if keras.backend.backend() != "tensorflow":
        return _threefry(key, counter)
    words = [tf.convert_to_tensor(word) for word in (*key, *counter)]
    shape = functools.reduce(tf.broadcast_static_shape, (word.shape for word in words))
    a, b = _graph()(*words)
    a.set_shape(shape)
    b.set_shape(shape)
    return a, b


@functools.cache
def _graph() -> Callable[..., Key]:
    """Returns TensorFlow's graph of `_threefry`, to which every graph of every model holds a call.

    The 200 operations were a third of those of a small model, and traced anew for each of its graphs. Shapes are left
    open: with a graph for each, TensorFlow warns of retracing, and a process keeps one for every size of a batch.
    """
    words = [tf.TensorSpec(None, tf.uint32)] * 4
    return tf.function(lambda *words: _threefry(words[:2], words[2:]), input_signature=words, autograph=False)


def _threefry(key: Key, counter: Key) -> Key:
    keys = (key[0], key[1], ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), _PARITY))
    a, b = counter[0] + keys[0], counter[1] + keys[1]
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            a = a + b
            b = ops.bitwise_xor(_rotate_left(b, bits), a)
        a = a + keys[(block + 1) % 3]
        b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def fold(key: Key, data0: int | Tensor, data1: int | Tensor = 0) -> Key:
    """Returns a new key [B], independent of `key`.

    Args:
        key: a key [B].
        data0: an integer, or [B], one for each row; other integers give other keys.
        data1: as `data0`.
    """
    return threefry(key, (_uint32(data0), _uint32(data1)))


def pair(seed: int, draw: int) -> tuple[Tensor, Tensor]:
    """Returns two integers below 2^32 as scalar tensors, to fold into a key without a new graph for each."""
    return ops.convert_to_tensor(np.uint32(seed)), ops.convert_to_tensor(np.uint32(draw))


def seed_keys(seeds: Tensor) -> Key:
    """Returns keys [B] of integer seeds [B]."""
    seeds = _uint32(seeds)
    return fold((seeds, ops.zeros_like(seeds)), 0)


def image_keys(images: Tensor) -> Key:
    """Returns keys [B] of integer images [B, ...]: equal for equal pixels, independent otherwise.

    A multilinear hash sum_d a_d x_d mod 2^32 (Carter and Wegman 1979) with two rows of fixed odd coefficients below
    2^31, then one Threefry block. RandomState's stream is frozen by NumPy: a key means the same image in every release.
    """
    size = int(np.prod(images.shape[1:]))
    pixels = _uint32(ops.reshape(images, (-1, size))) + np.uint32(1)
    coefficients = np.random.RandomState(1979).randint(0, 2**31, size=(2, size), dtype=np.uint32) | np.uint32(1)
    return fold(tuple(_sum(ops.multiply(pixels, row)) for row in coefficients), 0)


def uniform(key: Key, size: int, dtype: str = "float32", bits: int = 23) -> Tensor:
    """Returns uniform numbers [B, size], strictly between 0 and 1: (k + 1/2) 2^-bits, k in 0 .. 2^bits - 1.

    Args:
        key: a key [B].
        size: how many numbers for each key.
        dtype: of the numbers.
        bits: of each number, at most 31.
    """
    counter = np.arange((size + 1) // 2, dtype=np.uint32)[None]
    words = threefry(tuple(word[:, None] for word in key), (counter, np.zeros_like(counter)))
    words = ops.concatenate(words, axis=-1)[:, :size]  # [B, size]
    # int32 on the way: the bits fit, and every backend converts int32 to float.
    k = ops.cast(_high_bits(words, bits), "int32")
    return (ops.cast(k, dtype) + 0.5) * 2.0**-bits


def _sum(x: Tensor) -> Tensor:
    """Returns the sum [B] mod 2^32 of x [B, N] by halves."""
    while (size := x.shape[-1]) > 1:
        half = size // 2
        folded = x[:, :half] + x[:, half : 2 * half]
        x = ops.concatenate([folded, x[:, 2 * half :]], axis=-1) if size % 2 else folded
    return x[:, 0]


def _uint32(x: int | Tensor) -> Any:
    if isinstance(x, (int, np.integer)):
        return np.asarray(int(x) % 2**32, np.uint32)
    return ops.cast(x, "uint32")
