"""A flow as a TFP distribution."""

from typing import Any

import numpy as np
from keras import ops

from tfflows._backend import Tensor, noise, tfd
from tfflows.errors import InputError
from tfflows.flow import inputs


class FlowDistribution(tfd.Distribution):
    """p(x) of a `Flow` over real-valued x of shape `event_shape`: `log_prob`, `sample`, and what TFP derives from them.

    Samples are real-valued even where the flow's own `sample` rounds to images.

    Args:
        flow: the `Flow`.
        condition: for conditional flows one label or vector.
        name: of the distribution.
    """

    def __init__(self, flow: Any, condition: Any = None, name: str = "FlowDistribution") -> None:
        parameters = dict(locals())
        self._flow = flow
        self._condition = inputs.check_condition(flow, condition, 1, "as_distribution")
        # Its shape properties are this distribution's, in the types of the backend's TFP.
        self._shapes = tfd.Sample(tfd.Normal(np.zeros((), flow.dtype), 1.0), flow.event_shape)
        super().__init__(
            dtype=self._shapes.dtype,
            reparameterization_type=(
                tfd.NOT_REPARAMETERIZED if flow.base.kind == "mixture" else tfd.FULLY_REPARAMETERIZED
            ),
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self) -> Any:
        return self._shapes.event_shape

    def _event_shape_tensor(self) -> Tensor:
        return self._shapes.event_shape_tensor()

    def _batch_shape(self) -> Any:
        return self._shapes.batch_shape

    def _batch_shape_tensor(self) -> Tensor:
        return self._shapes.batch_shape_tensor()

    def _log_prob(self, x: Tensor) -> Tensor:
        shape = self._flow.event_shape
        if tuple(x.shape[-len(shape) :]) != shape:
            raise InputError(f"log_prob got x of shape {tuple(x.shape)}: its last axes must be {list(shape)}.")
        flat = ops.reshape(x, (-1, *shape))
        log_prob = self._flow.log_density(flat, self._rows(ops.shape(flat)[0]))
        return ops.reshape(log_prob, ops.shape(x)[: len(x.shape) - len(shape)])

    def _sample_n(self, n: int, seed: Any = None) -> Tensor:
        # TFP's generator gives a key of 64 bits for each sample, in pieces of 16 that its floats hold exactly. Its own
        # uniform numbers are 0 once in 2^23, which would be one extreme value of x.
        pieces = tfd.Uniform(np.float32(0), np.float32(2**16)).sample((n, 4), seed=seed)
        pieces = ops.cast(ops.cast(pieces, "int32"), "uint32")
        words = pieces[:, :2] * np.uint32(2**16) + pieces[:, 2:]
        uniforms = noise.uniform((words[:, 0], words[:, 1]), self._flow.base.num_uniforms, self._flow.dtype)
        z = self._flow.base.sample(uniforms, ops.ones((n,), self._flow.dtype))
        return self._flow.generate(z, self._rows(n))

    def _rows(self, n: Any) -> Tensor | None:
        if self._condition is None:
            return None
        return ops.broadcast_to(self._condition, (n, self._condition.shape[-1]))
