"""The part of a flow that goes between x and z: sampling, encoding, decoding and interpolation."""

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfflows import _backend, plots
from tfflows._backend import Tensor, noise
from tfflows.errors import InputError
from tfflows.flow import inputs
from tfflows.flow.inputs import as_given


class Generation:
    """A mixin for `Flow`, which has `transform`, `base`, `dequantizer` and what `inputs` reads."""

    def sample(
        self, n: int, temperature: ArrayLike = 1.0, seed: int | None = None, condition: Any = None
    ) -> np.ndarray:
        """Draws n samples: integer images [n, H, W, C], or real x where the flow has no dequantizer.

        Args:
            n: how many.
            temperature: at least 0, a number or [n]: multiplies the scale of the base distribution.
            seed: from 0 to 2^31 - 1, fixes the samples, the first ones also for a larger n; by default a random one.
            condition: for conditional flows a label or vector, one for all or one for each.
        """
        inputs.check_sampling(self, n, temperature, seed)
        seed = secrets.randbits(31) if seed is None else seed
        condition = inputs.check_condition(self, condition, n, "sample")
        size = _backend.compiled_size(n, inputs.largest_batch(self))
        temperature = np.resize(np.broadcast_to(np.asarray(temperature, self.dtype), (n,)), size)
        if condition is not None and size > n:
            condition = ops.take(condition, np.arange(size) % n, axis=0)
        rows = np.full(size, seed, "int32"), np.arange(size, dtype="int32"), temperature
        samples = self._graph("sample", self._sample)(*map(ops.convert_to_tensor, rows), condition)
        return ops.convert_to_numpy(samples)[:n]

    def show_samples(self, num: int = 64, temperature: float = 1.0, seed: int = 0, label: int | None = None) -> None:
        """Shows samples of a flow of images as a grid, as in a notebook; needs matplotlib.

        Args:
            num: how many.
            temperature: as of `sample`.
            seed: as of `sample`.
            label: the class of all, of a class-conditional flow; by default the classes in turn.
        """
        plots.show(plots.sample_images(self, num, temperature, seed, label), self.num_values)

    def _sample(self, seed: Tensor, index: Tensor, temperature: Tensor, condition: Tensor | None = None) -> Tensor:
        return self._sample_from_keys(noise.fold(noise.seed_keys(seed), index), temperature, condition)

    def sample_from_seeds(self, seeds: Tensor, temperature: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns one sample for each seed: it depends on its own seed alone, not on the batch.

        Args:
            seeds: int32 [B].
            temperature: [B].
            condition: [B, N], of a label its one-hot code.
        """
        return self._sample_from_keys(noise.seed_keys(seeds), temperature, condition)

    def _sample_from_keys(self, keys: Any, temperature: Tensor, condition: Tensor | None) -> Tensor:
        z = self.base.sample(noise.uniform(keys, self.base.num_uniforms, self.dtype), temperature)
        return self._decode(z, condition)

    def encode(self, x: Any, condition: Any = None) -> np.ndarray | Tensor:
        """Returns z [B, *latent_shape] of x; images are taken at the middle of their pixels, so that `decode` inverts.

        Args:
            x: [B, *event_shape], or a dict.
            condition: for conditional flows a label or vector, one for all or one for each.
        """
        images, condition = inputs.check(self, "encode", x, condition)
        return as_given(self._graph("encode", self._encode)(images, condition), x)

    def decode(self, z: Any, condition: Any = None) -> np.ndarray | Tensor:
        """Returns x [B, *event_shape] of z: integer images (rounded down, clipped to the range), or real x.

        Args:
            z: [B, *latent_shape].
            condition: for conditional flows a label or vector, one for all or one for each.
        """
        latents = inputs.check_latent(self, z)
        condition = inputs.check_condition(self, condition, latents.shape[0], "decode")
        return as_given(self._graph("decode", self._decode)(latents, condition), z)

    def interpolate(self, a: Any, b: Any, num: int = 8, condition: Any = None) -> np.ndarray | Tensor:
        """Returns a path [B, num, *event_shape] from each image of `a` to that of `b`: a straight line between their z.

        Where their conditions differ, in dicts, these are interpolated too (of labels their one-hot codes).

        Args:
            a: [B, *event_shape], or a dict.
            b: as many as `a`.
            num: how many images a path has.
            condition: for conditional flows a label or vector, one for all or one for each.
        """
        inputs.check_count("interpolate", num=num)
        (x_a, condition_a), (x_b, condition_b) = (inputs.check(self, "interpolate", x, condition) for x in (a, b))
        if len(x_a) != len(x_b):
            raise InputError(f"interpolate got {len(x_a)} and {len(x_b)} images: give as many of each.")
        encode, decode = self._graph("encode", self._encode), self._graph("decode", self._decode)
        z_a, z_b = encode(x_a, condition_a), encode(x_b, condition_b)

        def at(w: float) -> Tensor:
            condition = None if condition_a is None else (1 - w) * condition_a + w * condition_b
            return decode((1 - w) * z_a + w * z_b, condition)

        path = [at(w) for w in np.linspace(0.0, 1.0, num).tolist()]
        return as_given(ops.stack(path, axis=1), a)

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns real-valued x [B, *event_shape] of tensors z, unchecked, not rounded or clipped: for use in a graph.

        Args:
            z: [B, *latent_shape].
            condition: [B, N], of a label its one-hot code.
        """
        return self.transform.forward_and_log_det(ops.cast(z, self.dtype), condition=condition)[0]

    def _encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = ops.cast(x, self.dtype) + (0.0 if self.dequantizer is None else 0.5)
        z, log_det = self.transform.inverse_and_log_det(x, condition=condition)
        # No z leads to an x of density 0.
        return ops.where(ops.reshape(log_det > -np.inf, (-1,) + (1,) * len(self.latent_shape)), z, np.nan)

    def _decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.generate(z, condition)
        if self.dequantizer is None:
            return x
        return ops.cast(ops.clip(ops.floor(x), 0, self.num_values - 1), "uint8" if self.num_values <= 256 else "int32")

    def _graph(self, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if name not in self._graphs:
            self._graphs[name] = _backend.jit(self, function)
        return self._graphs[name]
