"""A flow as a TFP distribution."""

from keras import ops

from tfflows import inputs, noise
from tfflows._backend import tfd, tfp


class FlowDistribution(tfd.Distribution):
    """p(x) of a `Flow` over real-valued x of shape `event_shape`: `log_prob`, `sample`, and what TFP derives from them.

    Arguments: `flow`; `condition`, for conditional flows, one label or vector.
    Samples are real-valued also where the flow's own `sample` rounds to images.
    """

    def __init__(self, flow, condition=None, name="FlowDistribution"):
        parameters = {"flow": flow, "condition": condition, "name": name}
        self._flow = flow
        self._condition = inputs.check_condition(flow, condition, 1)
        super().__init__(
            dtype=getattr(ops.zeros((), flow.dtype), "dtype"),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self):
        return tfp.tf2jax.TensorShape(self._flow.event_shape)

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(self._flow.event_shape, "int32")

    def _log_prob(self, x):
        shape = self._flow.event_shape
        batch = ops.shape(x)[: len(x.shape) - len(shape)]
        flat = ops.reshape(x, (-1, *shape))
        return ops.reshape(self._flow._density(flat, self._rows(ops.shape(flat)[0])), batch)

    def _sample_n(self, n, seed=None):
        uniforms = noise.uniform(_keys(n, seed), self._flow.prior.num_uniforms, self._flow.dtype)
        z = self._flow.prior.sample(uniforms, ops.ones((n,), self._flow.dtype))
        return self._flow._generate(z, self._rows(n))

    def _rows(self, n):
        if self._condition is None:
            return None
        return ops.broadcast_to(self._condition, (n, self._condition.shape[-1]))


def _keys(n, seed):
    """Keys [n] from a seed of TFP: two 32-bit words."""
    words = tfp.random.sanitize_seed(seed)
    return words
