"""Continuous flows: an ordinary differential equation as a flow layer."""

import types

import keras
from keras import ops

from tfflows._backend import tfb, tfp
from tfflows.errors import InputError
from tfflows.layers.base import BijectorLayer


@keras.saving.register_keras_serializable("tfflows")
class Continuous(BijectorLayer):
    """Moves points along the velocity that a network gives (Grathwohl et al. 2019, equations 1-3).

        dh/dt = velocity(h, t),   h(0) = z,   h(1) = x,   log|det dx/dz| = integral over t of trace(d velocity / d h)

    x, z [B, n]. By `tfb.FFJORD` with the exact trace, n gradients of the velocity at each point: for small n. The
    equation is solved by `num_steps` equal steps of the classical Runge-Kutta method of order 4, forwards or backwards,
    and gradients are those of these steps. Steps of fixed size, where the paper adapts them to a tolerance, so that
    the density of a point does not depend on the batch it is in. All equations above hold up to an error
    proportional to num_steps^-4: that of the round trip, `forward` after `inverse`, shows whether they are enough.

    Arguments: `velocity`, a conditioner that maps [B, n + 1], h with t appended, to n outputs, which are set; make it
    smooth (an MLP with tanh). `num_steps`.

    Errors: ValueError where x is not [B, n] or num_steps < 1.

    Reference: Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud 2019, "FFJORD: free-form continuous dynamics for
    scalable reversible generative models", arXiv 1810.01367.
    """

    def __init__(self, velocity, num_steps=8, **kwargs):
        super().__init__(**kwargs)
        if num_steps < 1:
            raise InputError(f"Continuous got num_steps={num_steps}: it takes at least 1.")
        self.velocity, self.num_steps = velocity, num_steps

    def build(self, input_shape):
        if len(input_shape) != 2:
            raise InputError(f"Continuous takes x [B, n] and got shape {tuple(input_shape)}: put Flatten before it.")
        if not self.velocity.built:
            self.velocity.outputs = input_shape[-1]
            self.velocity.build((None, input_shape[-1] + 1))

    def bijector(self):
        def derivative(time, state):
            time = ops.broadcast_to(ops.cast(time, state.dtype), (*ops.shape(state)[:-1], 1))
            return self.velocity(ops.concatenate([state, time], axis=-1))

        return tfb.FFJORD(derivative, self._solve, trace_augmentation_fn=_with_trace, dtype=self.dtype)

    def _solve(self, ode_fn, initial_time, initial_state, solution_times):
        """The solver that FFJORD takes; a state is a pair (h, integral of the trace)."""
        step = (solution_times[0] - initial_time) / self.num_steps

        def after(state, slope, span):
            return tuple(value + span * change for value, change in zip(state, slope, strict=True))

        def advance(index, state):
            time = initial_time + step * ops.cast(index, self.dtype)
            k1 = ode_fn(time, state)
            k2 = ode_fn(time + step / 2, after(state, k1, step / 2))
            k3 = ode_fn(time + step / 2, after(state, k2, step / 2))
            k4 = ode_fn(time + step, after(state, k3, step))
            return after(state, [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], step / 6)

        state = ops.fori_loop(0, self.num_steps, advance, initial_state)
        return types.SimpleNamespace(states=tuple(value[None] for value in state))

    def get_config(self):
        velocity = keras.saving.serialize_keras_object(self.velocity)
        return {**super().get_config(), "velocity": velocity, "num_steps": self.num_steps}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "velocity": keras.saving.deserialize_keras_object(config["velocity"])})


def _with_trace(ode_fn, state_shape, dtype):
    """`ode_fn` and the diagonal of its Jacobian, as FFJORD takes them. (TFP's own, a loop, has no gradient on JAX.)"""

    def augmented(time, state):
        h, _ = state
        values, diagonal = [], []
        for i in range(h.shape[-1]):
            value, gradient = tfp.math.value_and_gradient(lambda h, i=i: ode_fn(time, h)[:, i], h)
            values.append(value)
            diagonal.append(gradient[:, i])
        return ops.stack(values, axis=-1), ops.stack(diagonal, axis=-1)

    return augmented
