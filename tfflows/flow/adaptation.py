"""Data-dependent initialisation: which flows need it, and from which images."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Tensor, hosts, noise
from tfflows.flow import batches, inputs


class Adaptable:
    """The part of a flow that initialises its data-dependent layers.

    `Flow` completes it with `transform`, `dequantizer`, `event_shape`, the weight `adapted`, and what `inputs` reads.
    """

    _known_as_adapted = False

    def adapt(self, data: Any) -> None:
        """Initialises data-dependent layers (actnorm, Gaussianize) from images, whatever their weights are.

        `fit` and `train_on_batch` call it unless it has run, or the weights of those layers were trained or assigned.
        Whether it has run is a saved weight, so that a loaded model is not initialised again. Where many hosts train
        together it uses the batches of all of them.

        Args:
            data: an array or a dict, of which the first 256 images count, or a data set, of which the first batch does;
                a Gaussianize at the data end sees up to 10,000.
        """
        x, condition = inputs.check(self, "adapt", batches.initial(self, data))
        hosts.on_every_host(self, self._initialize, x, condition)
        self._known_as_adapted = True

    def _initialize(self, x: Tensor, condition: Tensor | None) -> None:
        if self.dequantizer is not None:
            x, _ = self.dequantizer.dequantize(x, noise.fold(noise.image_keys(x), 0, hosts.row_numbers(x)))
        self.transform.initialize(ops.cast(x, self.dtype), condition)
        self.adapted.assign(1)

    def _needs_adapting(self) -> bool:
        """Returns whether data-dependent layers are as they were built; may be called in a traced function."""
        if self._known_as_adapted or not self.transform.data_dependent:
            return False
        if not _backend.untraced(self.adapted):
            initial = zip(self._data_dependent_weights(), self._initial_weights, strict=True)
            if not any(np.any(_backend.untraced(weight) != then) for weight, then in initial):
                return True
        self._known_as_adapted = True
        return False

    def _remember_initial_weights(self, built_here: bool) -> None:
        """Notes the weights of data-dependent layers; of layers built elsewhere, those that they have by default."""
        weights = self._data_dependent_weights()
        self._initial_weights = tuple(ops.convert_to_numpy(weight) if built_here else 0.0 for weight in weights)

    def _data_dependent_weights(self) -> list[keras.Variable]:
        layers = self._flatten_layers(include_self=False)
        return [weight for layer in layers if _is_adaptable(layer) for weight in layer.weights]


def _is_adaptable(layer: Any) -> bool:
    """Returns whether a layer is data-dependent itself, and not by a layer in it, a network's included."""

    def data_dependent(layer: Any) -> bool:
        return getattr(layer, "data_dependent", False)

    return data_dependent(layer) and not any(map(data_dependent, layer._flatten_layers(include_self=False)))
