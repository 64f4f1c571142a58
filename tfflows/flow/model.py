"""The part of a flow that is Keras's: compiling, training, evaluation and summaries, on images alone."""

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Tensor, hosts
from tfflows.errors import InputError, UnsupportedError
from tfflows.flow import batches, inputs, optimizers, statistics, structure
from tfflows.flow.adaptation import Adaptable


class LikelihoodModel(Adaptable, keras.Model):
    """A Keras model that returns log_prob [B], whose loss is the mean bits/dim plus the layers' own losses.

    `Flow` completes it with `transform`, `dequantizer`, `event_shape`, `latent_shape`, the weight `adapted`, and what
    `inputs` reads.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._bits_metric = keras.metrics.Mean(name="bits_per_dim")
        self.fit_updates_statistics = True  # see `update_statistics`

    @property
    def nats_per_bit_per_dim(self) -> float:
        """D ln 2, by which bits/dim are multiplied to give nats; D is the number of dimensions of x."""
        return math.prod(self.event_shape) * math.log(2.0)

    def update_statistics(self, data: Any, num_images: int = 10_000) -> None:
        """Recomputes the mean and variance of batch normalisation over images, for the weights as they are now.

        Evaluation and sampling use them. `fit` calls this before each validation and at its end, unless
        `fit_updates_statistics` is set to False or its data can be read only once; call it yourself after training by
        other means, or after a change of the weights (averages of weights, for example). Frozen layers keep theirs, and
        Keras's batch normalisation inside a network (`nets.PreActivationResNet`) its running averages; a flow without
        `BatchNorm` is left as it is.

        Args:
            data: training images, as `fit` takes them.
            num_images: look at no more than so many of them.
        """
        inputs.check_count("update_statistics", num_images=num_images)
        if not statistics.has_statistics(self.transform):
            return
        x, condition = inputs.check(self, "update_statistics", batches.choose(data, num_images))
        hosts.on_every_host(self, functools.partial(statistics.update, self), x, condition)

    # Training ---------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer | None = "adam",
        loss: None = None,
        loss_weights: None = None,
        metrics: None = None,
        weighted_metrics: None = None,
        **kwargs: Any,
    ) -> None:
        """Compiles for training by maximum likelihood, with Keras's other arguments of `compile`.

        Args:
            optimizer: an optimizer, or its name: "adam", "adamw", "adamax" and "muon" are those of
                `tfflows.flow.optimizers`.
            loss: refused, like `metrics` and their weights: the loss is the bits/dim, which is the metric too.
            loss_weights: refused.
            metrics: refused.
            weighted_metrics: refused.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, `auto_scale_loss`.

        Raises:
            InputError: one of the refused arguments is given, a network computes in float16, or Keras's own Muon is to
                train masked kernels.
        """
        refused = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics, "weighted_metrics": weighted_metrics}
        for name, value in refused.items():
            if value is not None:
                raise InputError(
                    f"compile got {name}={value!r}: the loss and the metric of a flow are its bits/dim, leave {name} "
                    "out."
                )
        half = [layer for layer in self._flatten_layers() if "float16" in layer.dtype_policy.name.split("_")]
        if optimizer is not None and half:
            raise InputError(
                f"{half[0].name} has the dtype policy {half[0].dtype_policy.name!r}, whose small range needs loss "
                "scaling, which flows do not have: build the flow under 'mixed_bfloat16'."
            )
        optimizer = optimizers.get(optimizer)
        optimizers.check_masks(optimizer, self.variables)
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as a saved model was; Keras's own method does nothing where `compile` is overridden."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Tensor = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the mean bits/dim plus the layers' own losses, divided by the number of replicas.

        Args:
            x: not read.
            y: not read.
            y_pred: log_prob [B] in nats, what `call` returns.
            sample_weight: a factor [B] or [B, 1] of each image's bits/dim.
            training: not read.
        """
        bits = -y_pred / self.nats_per_bit_per_dim
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, bits.dtype), (-1,))
        self._bits_metric.update_state(bits, sample_weight=sample_weight)
        if sample_weight is not None:
            bits = bits * sample_weight
        # Not the mean, which is NaN where the last batch has fewer images than there are devices.
        loss = ops.sum(bits) / ops.cast(ops.maximum(ops.size(bits), 1), bits.dtype)
        for extra in self.losses:
            loss = loss + ops.cast(extra, loss.dtype)
        return loss / _backend.num_replicas()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        *,
        validation_data: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Trains as Keras's `fit` does, on images alone.

        Data-dependent layers are initialised first, see `adapt`.

        Args:
            x: an array, a dict, a `tf.data.Dataset` or a `PyDataset`, see `Flow`.
            y: ignored, as in pairs (image, label); a conditional flow refuses it.
            batch_size: images in a step, 32 by default; for arrays.
            epochs: passes over the images.
            verbose: "auto", 0, 1 or 2, as Keras's.
            callbacks: Keras's callbacks.
            validation_data: data of the same kinds, or (x, y) or (x, y, sample_weight) of arrays.
            **kwargs: Keras's other arguments but `class_weight`.

        Returns:
            Keras's History.
        """
        _refuse_class_weight("fit", kwargs.pop("class_weight", None))
        _settle_direction(callbacks)
        x, y = batches.prepare(self, "fit", x, y), batches.placeholder(kwargs.get("sample_weight"))
        if isinstance(validation_data, tuple):
            weights = validation_data[2] if len(validation_data) == 3 else None
            images = batches.prepare(self, "fit", *validation_data[:2])
            validation_data = (images, batches.placeholder(weights), *validation_data[2:])
        elif validation_data is not None:
            validation_data = batches.prepare(self, "fit", validation_data)
        if not batches.is_array(x):
            kwargs.setdefault("shuffle", False)  # a data set shuffles itself; Keras warns of its own default
        trained_on = batches.before_validation(x, kwargs.get("validation_split"))
        if self._needs_adapting():
            self.adapt(trained_on)
        if getattr(self, "optimizer", None) is not None and not self.optimizer.built:
            # Inside the first trace, creating the optimizer's variables costs a second trace.
            with _backend.strategy_scope(self):
                self.optimizer.build(self.trainable_variables)
        callbacks = statistics.with_update(self, callbacks, trained_on)
        with batches.one_sentence():
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, validation_data=validation_data, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: None = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch, as Keras's `train_on_batch`, after `adapt` where that is needed.

        Args:
            x: an array [B, *event_shape], or a dict.
            y: ignored; a conditional flow refuses it.
            sample_weight: a factor [B] of each image's bits/dim.
            class_weight: refused.
            return_dict: whether to return the loss and bits/dim by name.
        """
        _refuse_class_weight("train_on_batch", class_weight)
        x = batches.prepare_batch(self, "train_on_batch", x, y)
        if self._needs_adapting():
            self.adapt(x)
        return super().train_on_batch(x, sample_weight=sample_weight, return_dict=return_dict)

    # Evaluation -------------------------------------------------------------------------------------------------

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: str | int = "auto", **kwargs: Any
    ) -> Any:
        """Returns the loss and `bits_per_dim` as Keras's `evaluate` does, with noise fixed by each image.

        Args:
            x: data as for `fit`.
            y: ignored; a conditional flow refuses it.
            batch_size: images in a step, 32 by default; for arrays.
            verbose: as Keras's.
            **kwargs: Keras's other arguments.
        """
        of_fit = kwargs.get("_use_cached_eval_dataset")  # which has refused a user's y, and has put a placeholder there
        x = batches.prepare(self, "evaluate", x, None if of_fit else y)
        with batches.one_sentence():
            return super().evaluate(x, batches.placeholder(kwargs.get("sample_weight")), batch_size, verbose, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Returns the loss and `bits_per_dim` of one batch; the arguments are those of `train_on_batch`."""
        x = batches.prepare_batch(self, "test_on_batch", x, y)
        return super().test_on_batch(x, sample_weight=sample_weight, return_dict=return_dict)

    def predict(self, x: Any, batch_size: int | None = None, verbose: str | int = "auto", **kwargs: Any) -> np.ndarray:
        """Returns log_prob [N] in nats, as Keras's `predict`; the data are those of `fit`."""
        with batches.one_sentence():
            return super().predict(batches.prepare(self, "predict", x), batch_size, verbose, **kwargs)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Returns log_prob [B] in nats of one batch, an array or a dict."""
        return super().predict_on_batch(batches.prepare_batch(self, "predict_on_batch", x))

    # Summaries and files ----------------------------------------------------------------------------------------

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Prints the parts of the flow from data to latent, with shapes and numbers of weights.

        Args:
            print_fn: what gets the text.
        """
        print_fn(structure.describe(self))

    def __repr__(self) -> str:
        return structure.describe(self) if hasattr(self, "latent_shape") else super().__repr__()

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises UnsupportedError, which names `tfflows.export.export`."""
        raise UnsupportedError(
            "Keras's export knows one output of a model: tfflows.export.export(flow, folder) writes a SavedModel with "
            "log_prob, encode, decode and sample."
        )


def _settle_direction(callbacks: Any) -> None:
    """Tells callbacks that monitor bits/dim with mode="auto" that less is better: Keras knows it of its own metrics."""
    for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or []):
        if getattr(callback, "mode", None) == "auto" and callback.monitor.endswith("bits_per_dim"):
            callback.mode = "min"


def _refuse_class_weight(method: str, class_weight: Any) -> None:
    if class_weight is not None:
        raise InputError(
            f"{method} got class_weight={class_weight!r}: a flow has no y to weigh by, give sample_weight, one number "
            "for each image."
        )
