"""A flow as a TFP distribution."""

import numpy as np
from keras import ops

from tfflows._backend import tfd
from tfflows.errors import InputError
from tfflows.flow import inputs


class FlowDistribution(tfd.Distribution):
    """p(x) of a `Flow` over real-valued x of shape `event_shape`: `log_prob`, `sample`, and what TFP derives from them.

    Arguments: `flow`; `condition`, for conditional flows, one label or vector.
    Samples are real-valued also where the flow's own `sample` rounds to images.
    """

    def __init__(self, flow, condition=None, name="FlowDistribution"):
        parameters = dict(locals())
        self._flow = flow
        self._condition = inputs.check_condition(flow, condition, 1)
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

    def _event_shape(self):
        return self._shapes.event_shape

    def _event_shape_tensor(self):
        return self._shapes.event_shape_tensor()

    def _batch_shape(self):
        return self._shapes.batch_shape

    def _batch_shape_tensor(self):
        return self._shapes.batch_shape_tensor()

    def _log_prob(self, x):
        shape = self._flow.event_shape
        if tuple(x.shape[-len(shape) :]) != shape:
            raise InputError(f"log_prob got x of shape {tuple(x.shape)}: its last axes must be {list(shape)}.")
        flat = ops.reshape(x, (-1, *shape))
        log_prob = self._flow._density(flat, self._rows(ops.shape(flat)[0]))
        return ops.reshape(log_prob, ops.shape(x)[: len(x.shape) - len(shape)])

    def _sample_n(self, n, seed=None):
        size = (n, self._flow.base.num_uniforms)
        uniforms = tfd.Uniform(np.finfo(self._flow.dtype).tiny, np.ones((), self._flow.dtype)).sample(size, seed=seed)
        z = self._flow.base.sample(uniforms, ops.ones((n,), self._flow.dtype))
        return self._flow._generate(z, self._rows(n))

    def _rows(self, n):
        if self._condition is None:
            return None
        return ops.broadcast_to(self._condition, (n, self._condition.shape[-1]))
