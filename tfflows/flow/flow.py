"""Flow: a Keras model with an exact likelihood."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Tensor, hosts, noise
from tfflows.dequantizers import UniformDequantizer
from tfflows.errors import InputError
from tfflows.flow import batches, inputs, local
from tfflows.flow.base import BaseDistribution
from tfflows.flow.base import get as base_distribution
from tfflows.flow.generation import Generation
from tfflows.flow.inputs import as_given, is_tensor
from tfflows.flow.model import LikelihoodModel
from tfflows.layers.base import FlowLayer, NestedConfig


@keras.saving.register_keras_serializable("tfflows")
class Flow(Generation, NestedConfig, LikelihoodModel):
    """A density p(x) from an invertible map between x and z: log p(x) = log p(z) + log|det dz/dx|.

    Images are integers [B, H, W, C] in [0, num_values), given as they are: the model dequantizes them, and log_prob
    is then the one-sample lower bound on log P(image) of Theis et al. 2016. bits/dim = -log_prob / (D ln 2).
    With `dequantizer=None` x is real-valued, of any shape [B, *event_shape], and log_prob is exact.

    Trained by `compile("adam")` and `fit(images)`. Data are arrays, a `tf.data.Dataset` or a `PyDataset` of x or of
    dicts with `image` and, for a conditional flow, `label` (or `condition`); other keys are ignored. `log_prob`,
    `bits_per_dim`, `encode`, `decode`, `interpolate` and `class_posterior` return tensors for tensors and NumPy arrays
    for anything else, as `sample` always does; called as a Keras layer, a flow returns tensors.

    Args:
        transform: the map, a FlowLayer.
        event_shape: the shape of one x.
        num_values: the number of grey values.
        base: "normal", "logistic", "mixture", "torus", "sphere" or a `BaseDistribution`.
        dequantizer: "uniform", a dequantizer layer, or None.
        num_classes: for a flow conditional on an integer label, whose one-hot code [B, num_classes] is the condition.
        condition_size: for a flow conditional on a vector [B, condition_size].
        seed: of the training noise.
        **kwargs: `name` and `dtype` of the model.

    Raises:
        InputError: an argument has a wrong value, or two do not go together.
        InputTypeError: `transform` is no FlowLayer.
    """

    def __init__(
        self,
        transform: FlowLayer,
        event_shape: tuple[int, ...],
        num_values: int | None = 256,
        base: str | BaseDistribution = "normal",
        dequantizer: str | keras.layers.Layer | None = "uniform",
        num_classes: int | None = None,
        condition_size: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", _backend.flow_dtype())
        super().__init__(**kwargs)
        if dequantizer not in ("uniform", None) and not hasattr(dequantizer, "dequantize"):
            raise InputError(f"Flow got dequantizer={dequantizer!r}: use 'uniform', a dequantizer layer or None.")
        self.transform = transform
        self.event_shape = tuple(event_shape) if np.iterable(event_shape) else event_shape
        self.num_values = num_values if dequantizer else None
        self.base = base_distribution(base)
        self.dequantizer = UniformDequantizer() if dequantizer == "uniform" else dequantizer
        self.num_classes, self.condition_size, self.seed = num_classes, condition_size, seed
        inputs.check_flow(self)
        self.build((None, *self.event_shape))
        self._graphs = {}

    def build(self, input_shape: Any) -> None:
        """Builds the parts that are not built yet; the constructor calls it."""
        built_here = not self.transform.built
        if built_here:
            self.transform.build((None, *self.event_shape))
        self._remember_initial_weights(built_here)
        self.latent_shape = self.transform.latent_shape(self.event_shape)
        if not self.base.built:
            self.base.build((None, *self.latent_shape))
        if self.dequantizer is not None and not self.dequantizer.built:
            self.dequantizer.build((None, *self.event_shape))
        for frozen in [layer for layer in self._flatten_layers() if not layer.trainable]:
            # Handed down to what its `build` has made; Keras does nothing where the value stays the same.
            frozen.trainable = True
            frozen.trainable = False
        counter = {"shape": (), "initializer": "zeros", "dtype": "int32", "trainable": False}
        self.step = self.add_weight(name="step", aggregation="only_first_replica", **counter)
        self.adapted = self.add_weight(name="adapted", aggregation="only_first_replica", **counter)

    def get_build_config(self) -> dict[str, Any]:
        """Returns the shape of a batch, for Keras."""
        return {"input_shape": (None, *self.event_shape)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Does nothing: a flow builds its weights in its constructor."""

    # Density ----------------------------------------------------------------------------------------------------

    def call(self, x: Any, training: bool = False) -> Tensor:
        """Returns log_prob [B] of a batch, x or a dict, as `fit` gives it; in training with new noise at each step.

        Raises:
            InputError: in training, where data-dependent layers were not initialised.
        """
        x, condition = batches.split(self, x)
        if not training:
            return self._log_prob(x, condition)
        if self._needs_adapting():
            raise InputError(
                "This flow has data-dependent layers (actnorm) that were not initialised: call adapt(batch) with one "
                "batch before a training loop of your own."
            )
        step = ops.convert_to_tensor(self.step) + 1  # read before it is assigned: else replicas may differ
        self.step.assign(step)
        if self.dequantizer is None:
            return self.log_density(x, condition, training=True)
        # Evaluation's seeds are small; the offset separates training noise from its. The row enters as well, so that
        # equal images differ: batch normalisation would divide by their variance of zero.
        keys = noise.fold(noise.image_keys(x), self.seed + 0x7F000000, step)
        return self._bound(x, condition, noise.fold(keys, hosts.row_numbers(x)), training=True)

    def log_prob(self, x: Any, condition: Any = None, dequantize: bool = True) -> np.ndarray | Tensor:
        """Returns log p(x) in nats; of integer images the one-sample bound, with noise fixed by the image's own pixels.

        Args:
            x: [B, *event_shape], or a dict.
            condition: for conditional flows a label or vector, one for all or one for each.
            dequantize: False for real-valued x, whose own density is then returned.

        Returns:
            [B]; an array or a tensor as x is.
        """
        images, condition = inputs.check(self, "log_prob", x, condition, dequantize=dequantize)
        if not dequantize or self.dequantizer is None:
            return as_given(self._graph("log_density", self.log_density)(images, condition), x)
        return as_given(self._graph("log_prob", self._log_prob)(images, condition), x)

    def bits_per_dim(
        self, images: Any, condition: Any = None, num_samples: int = 1, seed: int = 0, batch_size: int = 256
    ) -> np.ndarray | Tensor:
        """Returns the bits/dim of each image, computed in batches.

        With num_samples = K > 1 the bound is the importance-weighted one of Burda et al. 2016,
        log P(image) >= log (1/K) sum_k exp(bound_k), which is tighter: say which when you compare figures. The noise
        depends on `seed` and the image alone: independent between different images and between samples, the same for
        equal images, which have equal bits/dim. For another draw give another seed.

        Args:
            images: [N, *event_shape], or a dict.
            condition: for conditional flows a label or vector, one for all or one for each.
            num_samples: K.
            seed: from 0 to 2^31 - 1.
            batch_size: images that are evaluated at once.

        Returns:
            [N]; an array (float64) or a tensor as `images` are.
        """
        inputs.check_count("bits_per_dim", num_samples=num_samples, batch_size=batch_size)
        inputs.check_seed("bits_per_dim", seed)
        x, condition = inputs.check(self, "bits_per_dim", images, condition)
        bits = []
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            label = None if condition is None else condition[rows]
            graph = self._graph("log_prob", self._log_prob)
            draws = range(num_samples if self.dequantizer is not None else 1)
            bounds = [ops.convert_to_numpy(graph(x[rows], label, noise.pair(seed, draw))) for draw in draws]
            log_prob = np.logaddexp.reduce(np.asarray(bounds, "float64"), axis=0) - math.log(len(bounds))
            bits.append(-log_prob / self.nats_per_bit_per_dim)
        bits = np.concatenate(bits)
        return ops.convert_to_tensor(bits, dtype=self.dtype) if is_tensor(images) else bits

    def log_density(self, x: Tensor, condition: Tensor | None = None, training: bool = False) -> Tensor:
        """Returns log p(x) [B] of real-valued tensors x [B, *event_shape], without checks: for use in a graph.

        Args:
            x: in the units of grey values.
            condition: [B, N], of a label its one-hot code; a row of zeros is no class, and has probability 0.
            training: whether dropout and batch statistics are in use.
        """
        z, log_det = self.transform.inverse_and_log_det(ops.cast(x, self.dtype), condition=condition, training=training)
        log_prob = self.base.log_prob(z) + log_det
        if self.num_classes is None:
            return log_prob
        return ops.where(ops.any(condition > 0, axis=-1), log_prob, -np.inf)

    def _log_prob(self, x: Tensor, condition: Tensor | None = None, draw: tuple[Any, Any] = (0, 0)) -> Tensor:
        if self.dequantizer is None:
            return self.log_density(x, condition)
        return self._bound(x, condition, noise.fold(noise.image_keys(x), *draw))

    def _bound(self, x: Tensor, condition: Tensor | None, keys: Any, training: bool = False) -> Tensor:
        """Returns log p(x + u) - log q(u | x) [B] of images x, with noise u of the keys."""
        u, log_q = self.dequantizer.dequantize(x, keys, training=training)
        bound = self.log_density(u, condition, training) - log_q
        if keras.backend.standardize_dtype(x.dtype) == "uint8" and self.num_values == 256:
            return bound
        # Values outside of the range have probability 0. Arrays were refused before; this is for graphs and data sets.
        x = ops.cast(x, "int32")
        inside = ops.all(ops.logical_and(x >= 0, x < self.num_values), axis=tuple(range(1, len(x.shape))))
        return ops.where(inside, bound, -np.inf)

    # Other views -----------------------------------------------------------------------------------------------

    def class_posterior(self, x: Any) -> np.ndarray | Tensor:
        """Returns p(y | x) [B, num_classes] by Bayes's rule with equal priors, for class-conditional flows.

        Args:
            x: [B, *event_shape], or a dict, whose labels are not read.
        """
        if self.num_classes is None:
            raise InputError("class_posterior needs a class-conditional flow: build it with num_classes.")
        images, _ = inputs.check(self, "class_posterior", x, 0)
        log_prob = ops.stack([self.log_prob(images, label) for label in range(self.num_classes)], axis=-1)
        return as_given(ops.softmax(log_prob, axis=-1), x)

    def bits_map(
        self, images: Any, condition: Any = None, num_samples: int = 1, seed: int = 0, batch_size: int = 256
    ) -> np.ndarray | Tensor:
        """Returns where in an image its bits are [B, H, W]: they add up to H W C times the bits/dim.

        One autoregressive layer, or several in one order, has p(x) = prod_i p(x_i | x_1 .. x_(i-1)): the map is then
        exactly -log2 of these conditionals. Other flows have no such conditionals; there a pixel's bits are those of
        its own latent and log-determinants, and 1x1 convolutions spread them over the pixels that they mix (blocks of
        2^L x 2^L at level L of Glow). A pixel's bits then depend on its neighbours in all directions.

        Args:
            images: [B, H, W, C], or a dict.
            condition: for conditional flows a label or vector, one for all or one for each.
            num_samples: of the noise, of which the mean is taken; the sum is the single-sample bound's.
            seed: as of `bits_per_dim`.
            batch_size: images that are evaluated at once.

        Raises:
            UnsupportedError: a part of the flow has no parts of single pixels (a mixture base, variational
                dequantization, planar or continuous layers).
        """
        return local.bits_map(self, images, condition, num_samples, seed, batch_size)

    def as_distribution(self, condition: Any = None) -> Any:
        """Returns the density over real-valued x as a `tfd.Distribution`, for use with TFP; no dequantization.

        Args:
            condition: for conditional flows one label or vector.
        """
        from tfflows.flow.distribution import FlowDistribution

        return FlowDistribution(self, condition)

    # Serialisation ----------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, serialized."""
        return {
            **super().get_config(),
            "transform": keras.saving.serialize_keras_object(self.transform),
            "event_shape": self.event_shape,
            "num_values": self.num_values,
            "base": keras.saving.serialize_keras_object(self.base),
            "dequantizer": keras.saving.serialize_keras_object(self.dequantizer),
            "num_classes": self.num_classes,
            "condition_size": self.condition_size,
            "seed": self.seed,
        }
