"""The statistics of batch normalisation, recomputed for the weights that a flow has now.

In training batch normalisation keeps running averages. They belong to the weights of the last steps, not to a moving
average of the weights, and early in training they lag behind. Papamakarios et al. 2017 (appendix B) evaluate with the
mean and variance over the training set; `torch.optim.swa_utils.update_bn` does about the same for averaged weights.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, noise
from tfflows.flow import batches as data_of_fit
from tfflows.flow import inputs
from tfflows.layers.base import FlowLayer
from tfflows.layers.batchnorm import BatchNorm
from tfflows.layers.compose import Chain, Multiscale

if TYPE_CHECKING:
    from tfflows.flow.flow import Flow

NUM_IMAGES = 2048  # images that `fit` and the training command look at before each validation
BATCH = 256
DRAW = 0x7E000000  # the seed of the noise, away from the small seeds of evaluation and from those of training

Batches = list[tuple[Tensor, Tensor | None]]  # (x, condition)


def has_statistics(layer: keras.Layer) -> bool:
    """Returns whether batch normalisation that is not frozen is anywhere in a layer."""
    return any(isinstance(each, BatchNorm) and each.trainable for each in layer._flatten_layers())


def with_update(flow: "Flow", callbacks: Any, data: Any) -> Any:
    """Returns the callbacks of `fit` and after them, where the flow has statistics, an `UpdateStatistics`.

    Args:
        flow: the flow.
        callbacks: None, a callback, a list of them, or a CallbackList.
        data: of `fit`; where it can be read only once, nothing is added.
    """
    can_be_read_again = data_of_fit.is_array(data) or isinstance(data, keras.utils.PyDataset) or hasattr(data, "take")
    if not (flow.fit_updates_statistics and can_be_read_again and has_statistics(flow.transform)):
        return callbacks
    update = UpdateStatistics(data_of_fit.choose(data, NUM_IMAGES))
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(update)
        update.set_model(flow)
        return callbacks
    return [*(callbacks if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []), update]


class UpdateStatistics(keras.callbacks.Callback):
    """Updates the statistics of a flow before each validation and at the end of training; `Flow.fit` adds it.

    Args:
        images: what `batches.choose` returned.
    """

    def __init__(self, images: Any) -> None:
        super().__init__()
        self.images = images

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Updates the statistics before a validation."""
        self.model.update_statistics(self.images)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Updates the statistics for the weights that training ends with."""
        self.model.update_statistics(self.images)


def update_alone(flow: "Flow", images: Any) -> None:
    """Does what `Flow.update_statistics` does, on this host alone, where a flow is not trained together with others.

    Args:
        flow: the flow.
        images: in memory.
    """
    update(flow, *inputs.check(flow, "update_statistics", images))


def update(flow: "Flow", x: Tensor, condition: Tensor | None = None) -> None:
    """Sets the statistics of all batch normalisation in a flow to those of images, from the data to the latent.

    Every layer is evaluated once, with the statistics of the layers before it already in place, so that the images
    leave each batch normalisation with the mean and variance that evaluation assumes. Dropout is in effect, as in
    training: without it the statistics of a network that overfits are those of its training images alone.

    Args:
        flow: the flow.
        x: [N, *event_shape], as `log_prob` takes it.
        condition: [N, condition_size], or None.
    """
    batches = []
    for start in range(0, x.shape[0], BATCH):
        rows = slice(start, start + BATCH)
        part = ops.convert_to_tensor(x[rows])
        if flow.dequantizer is not None:
            # The row is part of the key, so that equal images get different noise.
            index = np.arange(start, start + part.shape[0], dtype="uint32")
            part, _ = flow.dequantizer.dequantize(part, noise.fold(noise.image_keys(part), DRAW, index))
        batches.append((ops.cast(part, flow.dtype), None if condition is None else condition[rows]))
    # Dropout moves its random state on, and Keras's batch normalisation its averages, which are the training's: they go
    # back to where they were.
    layers = flow.transform._flatten_layers()
    ours = {id(weight) for layer in layers if isinstance(layer, BatchNorm) for weight in layer.variables}
    states = [weight for weight in flow.transform.non_trainable_variables if id(weight) not in ours]
    before = [ops.copy(state.value) for state in states]
    _walk(flow.transform, batches)
    for state, value in zip(states, before, strict=True):
        state.assign(value)


def _walk(layer: FlowLayer, batches: Batches) -> Batches:
    """Updates the statistics in a layer and returns what it makes of the batches."""
    if isinstance(layer, Chain):
        for each in reversed(layer.layers):
            batches = _walk(each, batches)
        return batches
    if isinstance(layer, Multiscale):
        for each in reversed(layer.layers):
            batches = _walk(each, batches)
            if each is not layer.layers[0]:
                batches = [(ops.split(x, 2, axis=-1)[0], condition) for x, condition in batches]
        return batches
    if isinstance(layer, BatchNorm) and layer.trainable:
        layer.set_statistics(*_moments([x for x, _ in batches]))
    training = not isinstance(layer, BatchNorm)
    return [(layer.inverse_and_log_det(x, condition=c, training=training)[0], c) for x, c in batches]


def _moments(parts: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and variance [C] of each channel over arrays [B, ..., C], in float64."""
    axes = tuple(range(len(parts[0].shape) - 1))
    arrays = [np.asarray(ops.convert_to_numpy(part), "float64") for part in parts]
    count = sum(array[..., 0].size for array in arrays)
    mean = sum(array.sum(axis=axes) for array in arrays) / count
    variance = sum(np.square(array - mean).sum(axis=axes) for array in arrays) / count
    return mean, variance
