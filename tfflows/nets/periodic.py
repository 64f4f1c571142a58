"""Networks that read angles: 0 and 2 pi are one input to them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.nets.base import Conditioner
from tfflows.nets.made import MADE


@keras.saving.register_keras_serializable("tfflows")
class Periodic(Conditioner):
    """A network that sees each angle as its cosine and sine: [B, n + N] -> [B, outputs].

    For couplings of angles. The N channels that come after the angles, those of a condition, are passed on as they are.

    Args:
        net: a `Conditioner` of [B, 2n + N].
        condition_size: N.
        **kwargs: Keras's arguments of a layer, and `outputs`.
    """

    def __init__(self, net: Conditioner, condition_size: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.net, self.condition_size = net, condition_size

    def build(self, input_shape: Shape) -> None:
        self.num_angles = input_shape[-1] - self.condition_size
        width = 2 * self.num_angles + self.condition_size
        self.net.build_for((*input_shape[:-1], width), self.outputs)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        angles, condition = x[..., : self.num_angles], x[..., self.num_angles :]
        features = ops.concatenate([ops.cos(angles), ops.sin(angles), condition], axis=-1)
        return self.net(features, training=training)

    def get_config(self) -> dict[str, Any]:
        net = keras.saving.serialize_keras_object(self.net)
        return {**super().get_config(), "net": net, "condition_size": self.condition_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Periodic":
        """Returns the network of a configuration."""
        return cls(**{**config, "net": keras.saving.deserialize_keras_object(config["net"])})


@keras.saving.register_keras_serializable("tfflows")
class PeriodicMADE(Conditioner):
    """A MADE of angles: outputs for angle i see the cosines and sines of the angles before i.

    x [B, n], condition [B, N] -> [B, P, n]. It is a `MADE` of the 2n numbers cos x_1, sin x_1, cos x_2, ..., of whose
    outputs those for the cosines are used. Sampling takes n passes.

    Args:
        hidden: the widths of the hidden layers, one at least.
        activation: of the hidden layers, as Keras takes it.
        condition_size: N, or 0.
        **kwargs: Keras's arguments of a layer, and `outputs`.

    Reference:
        Rezende et al. 2020, "Normalizing flows on tori and spheres", arXiv 2002.02428, section 2.3.1.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        activation: str | Callable[[Tensor], Tensor] = "relu",
        condition_size: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.net = MADE(hidden, activation=activation, condition_size=condition_size)

    @property
    def condition_size(self) -> int:
        return self.net.condition_size

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            raise InputError(f"PeriodicMADE takes angles [B, n] and got shape {tuple(input_shape)}.")
        self.net.build_for((None, 2 * input_shape[-1]), 2 * self.outputs)

    def call(self, x: Tensor, condition: Tensor | None = None, training: bool = False) -> Tensor:
        features = ops.reshape(ops.stack([ops.cos(x), ops.sin(x)], axis=-1), (-1, 2 * x.shape[-1]))
        return self.net(features, condition=condition, training=training)[..., ::2]

    def solve(
        self, z: Tensor, element: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns x and log-dets, both [B, n], as `MADE.solve` does."""
        x, log_dets = [], []
        for index in range(z.shape[-1]):
            rest = [ops.zeros_like(z[:, :1])] * (z.shape[-1] - index)  # what the network does not see
            outputs = self(ops.concatenate([*x, *rest], axis=-1), condition)[..., index]
            each, log_det = element(z[:, index : index + 1], outputs)
            x.append(ops.reshape(each, (-1, 1)))  # TensorFlow has lost its shape where the batch has no size yet
            log_dets.append(ops.reshape(log_det, (-1, 1)))
        return ops.concatenate(x, axis=-1), ops.concatenate(log_dets, axis=-1)

    # Keras's functional API matches these names with the arguments of `call`.
    def compute_output_shape(self, x_shape: Shape, condition_shape: Shape | None = None) -> tuple[int | None, ...]:
        return (x_shape[0], self.outputs // x_shape[-1], x_shape[-1])

    def get_config(self) -> dict[str, Any]:
        names = ("hidden", "activation", "condition_size")
        return {**super().get_config(), **{name: getattr(self.net, name) for name in names}}
