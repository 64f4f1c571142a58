"""Flow: a Keras model with an exact likelihood."""

import functools
import math
import secrets

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import hosts, noise
from tfflows.dequantizers import UniformDequantizer
from tfflows.errors import InputError
from tfflows.flow import inputs, optimizers, statistics
from tfflows.flow.base import get as base_distribution
from tfflows.layers.base import NestedConfig


@keras.saving.register_keras_serializable("tfflows")
class Flow(NestedConfig, keras.Model):
    """A density p(x) from an invertible map between x and z: log p(x) = log p(z) + log|det dz/dx|.

    Images are integers [B, H, W, C] in [0, num_values), given as they are: the model dequantizes them, and log_prob
    is then the one-sample lower bound on log P(image) of Theis et al. 2016. bits/dim = -log_prob / (D ln 2).
    With `dequantizer=None` x is real-valued, of any shape [B, *event_shape], and log_prob is exact.

    Arguments: `transform`, a FlowLayer; `event_shape`, the shape of one x; `num_values`, the number of grey values;
    `base`, "normal", "logistic", "mixture" or a `BaseDistribution`; `dequantizer`, "uniform", a layer or None;
    `num_classes`, for a flow conditional on an integer label, whose one-hot code [B, num_classes] is the condition;
    `condition_size`, for one conditional on a vector [B, condition_size]; `seed` of the training noise.

    Trained by `compile("adam")` and `fit(images)`: the loss is the mean bits/dim plus the layers' own losses. Data are
    arrays, a `tf.data.Dataset` or a `PyDataset` of x or of dicts with `image` and, for a conditional flow, `label` (or
    `condition`); other keys are ignored.

    Errors: TypeError for real-valued images where integers are expected; ValueError for a wrong shape or range.
    """

    def __init__(
        self,
        transform,
        event_shape,
        num_values=256,
        base="normal",
        dequantizer="uniform",
        num_classes=None,
        condition_size=None,
        seed=0,
        **kwargs,
    ):
        kwargs.setdefault("dtype", _backend.flow_dtype())
        super().__init__(autocast=False, **kwargs)
        if dequantizer not in ("uniform", None) and not hasattr(dequantizer, "dequantize"):
            raise InputError(f"Flow got dequantizer={dequantizer!r}: use 'uniform', a dequantizer layer or None.")
        self.transform = transform
        self.event_shape = tuple(event_shape) if np.iterable(event_shape) else event_shape
        self.num_values = num_values if dequantizer else None
        self.base = base_distribution(base)
        self.dequantizer = UniformDequantizer() if dequantizer == "uniform" else dequantizer
        self.num_classes, self.condition_size, self.seed = num_classes, condition_size, seed
        inputs.check_flow(self)
        self._bits_metric = keras.metrics.Mean(name="bits_per_dim")
        self.build((None, *self.event_shape))
        self._graphs = {}
        self.fit_updates_statistics = True  # see `update_statistics`

    def build(self, input_shape):
        if not self.transform.built:
            self.transform.build((None, *self.event_shape))
        self.latent_shape = self.transform.latent_shape(self.event_shape)
        if not self.base.built:
            self.base.build((None, *self.latent_shape))
        if self.dequantizer is not None and not self.dequantizer.built:
            self.dequantizer.build((None, *self.event_shape))
        counter = {"shape": (), "initializer": "zeros", "dtype": "int32", "trainable": False}
        self.step = self.add_weight(name="step", aggregation="only_first_replica", **counter)
        self.adapted = self.add_weight(name="adapted", aggregation="only_first_replica", **counter)

    def get_build_config(self):
        return {"input_shape": (None, *self.event_shape)}

    def build_from_config(self, config):
        """Nothing to do: a flow builds its weights in its constructor."""

    # Density ----------------------------------------------------------------------------------------------------

    def call(self, x, training=False):
        """log_prob [B] of a batch as `fit` gets it; in training with fresh noise at each step."""
        x, condition = inputs.split(self, x)
        return self._log_prob(x, condition, self._training_draw() if training else (0, 0), training)

    def log_prob(self, x, condition=None, dequantize=True):
        """log p(x) [B], nats; of integer images the one-sample bound, with noise fixed by the image's own pixels.

        With `dequantize=False` x is real-valued and the density of x itself is returned.
        """
        x, condition = inputs.check(self, x, condition, dequantize)
        if not dequantize or self.dequantizer is None:
            return self._graph("density", self._density)(x, condition)
        return self._graph("log_prob", self._log_prob)(x, condition)

    def bits_per_dim(self, images, condition=None, num_samples=1, seed=0, batch_size=256):
        """Bits/dim of each image, a NumPy array [N], in batches.

        With num_samples = K > 1 the bound is the importance-weighted one of Burda et al. 2016,
        log P(image) >= log (1/K) sum_k exp(bound_k), which is tighter: say which when you compare figures. The noise
        depends on `seed` and the image alone, independently between images and samples.
        """
        inputs.check_count("bits_per_dim", num_samples=num_samples, batch_size=batch_size)
        inputs.check_seed("bits_per_dim", seed)
        images, condition = inputs.check(self, images, condition)
        bits = []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            label = None if condition is None else condition[rows]
            graph = self._graph("log_prob", self._log_prob)
            draws = range(num_samples if self.dequantizer is not None else 1)
            bounds = [ops.convert_to_numpy(graph(images[rows], label, _pair(seed, draw))) for draw in draws]
            log_prob = np.logaddexp.reduce(np.asarray(bounds, "float64"), axis=0) - math.log(len(bounds))
            bits.append(-log_prob / self.nats_per_bit_per_dim)
        return np.concatenate(bits)

    @property
    def nats_per_bit_per_dim(self) -> float:
        """D ln 2, by which bits/dim are multiplied to give nats; D is the number of dimensions of x."""
        return math.prod(self.event_shape) * math.log(2.0)

    def _log_prob(self, x, condition=None, draw=(0, 0), training=False):
        if self.dequantizer is None:
            return self._density(x, condition, training)
        keys = noise.fold(noise.image_keys(x), *draw)
        u, log_q = self.dequantizer.dequantize(x, keys, training=training)
        bound = self._density(u, condition, training) - log_q
        if keras.backend.standardize_dtype(x.dtype) == "uint8" and self.num_values == 256:
            return bound
        # Values outside of the range have probability 0. Arrays were refused before; this is for graphs and data sets.
        x = ops.cast(x, "int32")
        inside = ops.all(ops.logical_and(x >= 0, x < self.num_values), axis=tuple(range(1, len(x.shape))))
        return ops.where(inside, bound, -np.inf)

    def _density(self, x, condition=None, training=False):
        z, log_det = self.transform.inverse_and_log_det(ops.cast(x, self.dtype), condition=condition, training=training)
        return self.base.log_prob(z) + log_det

    def _training_draw(self):
        step = ops.convert_to_tensor(self.step) + 1  # read before it is assigned: else replicas may differ
        self.step.assign(step)
        # Draws of evaluation have small seeds; the offset keeps training noise apart from them.
        return self.seed + 0x7F000000, step

    # Sampling ---------------------------------------------------------------------------------------------------

    def sample(self, n, temperature=1.0, seed=None, condition=None):
        """n samples: integer images [n, H, W, C] (NumPy), or real x where the flow has no dequantizer.

        `temperature` >= 0 multiplies the scale of the base distribution (a number, or [n]); `seed`, an integer from 0
        to 2^31 - 1, fixes the samples; `condition`, for conditional flows, is a label or vector, one for all or one for
        each.
        """
        inputs.check_sampling(self, n, temperature, seed)
        seed = secrets.randbits(31) if seed is None else seed
        condition = inputs.check_condition(self, condition, n)
        temperature = np.broadcast_to(np.asarray(temperature, self.dtype), (n,))
        places = np.full(n, seed, "int32"), np.arange(n, dtype="int32"), temperature
        return ops.convert_to_numpy(self._graph("sample", self._sample)(*map(ops.convert_to_tensor, places), condition))

    def _sample(self, seed, index, temperature, condition=None):
        seeds = noise.fold(noise.seed_keys(seed), index)[0]
        return self.sample_from_seeds(ops.cast(seeds, "int32"), temperature, condition)

    def sample_from_seeds(self, seeds, temperature, condition=None):
        """One sample for each seed [B] and temperature [B]: it depends on its own seed alone, not on the batch."""
        uniforms = noise.uniform(noise.seed_keys(seeds), self.base.num_uniforms, self.dtype)
        z = self.base.sample(uniforms, temperature)
        return self._decode(z, condition)

    def encode(self, x, condition=None):
        """z [B, *latent_shape] of x; images are taken at the middle of their pixels, so `decode` gives them back."""
        x, condition = inputs.check(self, x, condition)
        return self._graph("encode", self._encode)(x, condition)

    def decode(self, z, condition=None):
        """x of z [B, *latent_shape]: integer images (rounded down, clipped to the range), or real x."""
        z = inputs.check_latent(self, z)
        condition = inputs.check_condition(self, condition, z.shape[0])
        return self._graph("decode", self._decode)(z, condition)

    def interpolate(self, a, b, num=8, condition=None):
        """[B, num, *event_shape]: from each image of `a` to that of `b`, along the straight line between their z."""
        inputs.check_count("interpolate", num=num)
        z_a, z_b = self.encode(a, condition), self.encode(b, condition)
        if len(z_a) != len(z_b):
            raise InputError(f"interpolate got {len(z_a)} and {len(z_b)} images: give as many of each.")
        weights = np.linspace(0.0, 1.0, num)
        path = [self.decode((1 - w) * z_a + w * z_b, condition) for w in weights]
        return np.stack([ops.convert_to_numpy(x) for x in path], axis=1)

    def _encode(self, x, condition=None):
        x = ops.cast(x, self.dtype) + (0.0 if self.dequantizer is None else 0.5)
        z, log_det = self.transform.inverse_and_log_det(x, condition=condition)
        # No z leads to an x of density 0.
        return ops.where(ops.reshape(log_det > -np.inf, (-1,) + (1,) * len(self.latent_shape)), z, np.nan)

    def _generate(self, z, condition=None):
        return self.transform.forward_and_log_det(ops.cast(z, self.dtype), condition=condition)[0]

    def _decode(self, z, condition=None):
        x = self._generate(z, condition)
        if self.dequantizer is None:
            return x
        return ops.cast(ops.clip(ops.floor(x), 0, self.num_values - 1), "uint8" if self.num_values <= 256 else "int32")

    def class_posterior(self, x):
        """p(y | x) [B, num_classes] by Bayes's rule with equal priors, for class-conditional flows."""
        if self.num_classes is None:
            raise InputError("class_posterior needs a class-conditional flow: build it with num_classes.")
        log_prob = ops.stack([self.log_prob(x, label) for label in range(self.num_classes)], axis=-1)
        return ops.softmax(log_prob, axis=-1)

    def as_distribution(self, condition=None):
        """The density over real-valued x as a `tfd.Distribution`, for use with TFP; no dequantization."""
        from tfflows.flow.distribution import FlowDistribution

        return FlowDistribution(self, condition)

    # Training ---------------------------------------------------------------------------------------------------

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        bits = -y_pred / self.nats_per_bit_per_dim
        self._bits_metric.update_state(bits, sample_weight=sample_weight)
        if sample_weight is not None:
            bits = bits * ops.cast(sample_weight, bits.dtype)
        loss = ops.mean(bits)
        for extra in self.losses:
            loss = loss + ops.cast(extra, loss.dtype)
        return loss / _backend.num_replicas()

    def compile(self, optimizer="adam", **kwargs):
        """Keras's `compile`; the names "adam" and "adamw" mean those of `tfflows.optimizers`."""
        super().compile(optimizers.get(optimizer), **kwargs)

    def compile_from_config(self, config):
        """As Keras's own, which gives up where `compile` is overridden."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def adapt(self, data):
        """Data-dependent initialisation (actnorm) from one batch: an array, a dict, or the first batch of a data set.

        `fit` calls it where it has not run; whether it has is a saved weight, so that a loaded model never runs it
        again. Where many hosts train together it runs on the batches of all of them.
        """
        x, condition = inputs.check(self, inputs.first_batch(data))
        hosts.on_every_host(self, self._adapt, x, condition)

    def _adapt(self, x, condition):
        if self.dequantizer is not None:
            x, _ = self.dequantizer.dequantize(x, noise.image_keys(x))
        self.transform.initialize(ops.cast(x, self.dtype), condition)
        self.adapted.assign(1)

    def update_statistics(self, data, num_images=10_000):
        """Recomputes the mean and variance of batch normalisation over images, for the weights as they are now.

        Evaluation and sampling use them. `fit` calls this before each validation and at its end, unless
        `fit_updates_statistics` is set to False or its data can be read only once; call it yourself after
        training by other means, or after a change of the weights (averages of weights, for example). Frozen layers
        keep theirs; a flow without batch normalisation is left as it is.

        Args:
            data: training images, as `fit` takes them.
            num_images: look at no more than so many of them.
        """
        inputs.check_count("update_statistics", num_images=num_images)
        if not statistics.has_statistics(self.transform):
            return
        x, condition = inputs.check(self, statistics.choose(data, num_images))
        hosts.on_every_host(self, functools.partial(statistics.update, self), x, condition)

    def fit(self, x=None, y=None, *, validation_data=None, **kwargs):
        """Keras's `fit`, on images alone; its other arguments go by name."""
        x, y = inputs.prepare(self, x, y), inputs.placeholder(kwargs)
        if isinstance(validation_data, tuple):
            weighted = {"sample_weight": validation_data[2]} if len(validation_data) == 3 else {}
            y_val = inputs.placeholder(weighted)
            validation_data = (inputs.prepare(self, *validation_data[:2]), y_val, *validation_data[2:])
        elif validation_data is not None:
            validation_data = inputs.prepare(self, validation_data)
        if not inputs.is_array(x):
            kwargs.setdefault("shuffle", False)  # the data set's own affair; Keras warns of its own default
        if self.transform.data_dependent and not int(ops.convert_to_numpy(self.adapted)):
            self.adapt(x)
        if getattr(self, "optimizer", None) is not None and not self.optimizer.built:
            # Inside the first trace, creating the optimizer's variables costs a second trace.
            self.optimizer.build(self.trainable_variables)
        kwargs["callbacks"] = statistics.with_update(self, kwargs.get("callbacks"), x)
        with inputs.one_sentence():
            return super().fit(x, y, validation_data=validation_data, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """Keras's `evaluate`, on images alone: the loss and `bits_per_dim`, with noise fixed by each image."""
        with inputs.one_sentence():
            return super().evaluate(inputs.prepare(self, x, y), inputs.placeholder(kwargs), **kwargs)

    def predict(self, x, **kwargs):
        """Keras's `predict`: log_prob [N]."""
        with inputs.one_sentence():
            return super().predict(inputs.prepare(self, x), **kwargs)

    # Serialisation ----------------------------------------------------------------------------------------------

    def get_config(self):
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

    def _graph(self, name, function):
        if name not in self._graphs:
            self._graphs[name] = _backend.jit(self, function)
        return self._graphs[name]


def _pair(seed, draw):
    return ops.convert_to_tensor(np.uint32(seed)), ops.convert_to_tensor(np.uint32(draw))
