"""Continuous flows: an ordinary differential equation as a flow layer."""

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor, tfb, tfp
from tfflows.errors import InputError
from tfflows.layers.base import BijectorLayer, build_conditioner

State = tuple[Tensor, Tensor]  # h [B, n] and the integral of the trace [B]
Derivative = Callable[[Tensor, State], State]


@keras.saving.register_keras_serializable("tfflows")
class Continuous(BijectorLayer):
    """Moves points along the velocity that a network gives (Grathwohl et al. 2019, equations 1-3).

        dh/dt = velocity(h, t),   h(0) = z,   h(1) = x,   log|det dx/dz| = integral over t of trace(d velocity / d h)

    x, z [B, n]. `tfb.FFJORD` with the exact trace, which takes n gradients of the velocity at each point: for small n.
    The solver is the classical Runge-Kutta method of order 4 with steps of fixed size, where the paper adapts them to
    a tolerance, so that the density of a point does not depend on the batch that it is in; gradients are those of
    these steps. The equations above hold up to an error proportional to num_steps^-4: the error of the round trip,
    `forward` after `inverse`, shows whether the steps are enough.

    Args:
        velocity: a `Conditioner`, or another Keras layer, from [B, n + 1], h with t appended, to
            [B, n]; smooth, for example an MLP with tanh.
        num_steps: the number of steps of the solver.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: x is not [B, n], or num_steps < 1.

    Reference:
        Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud 2019, "FFJORD: free-form continuous dynamics for
        scalable reversible generative models", arXiv 1810.01367.
    """

    def __init__(self, velocity: keras.layers.Layer, num_steps: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_steps < 1:
            raise InputError(f"Continuous got num_steps={num_steps}: it takes at least 1.")
        self.velocity, self.num_steps = velocity, num_steps

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            raise InputError(f"Continuous takes x [B, n] and got shape {tuple(input_shape)}: put Flatten before it.")
        if self.velocity.compute_dtype not in ("float32", "float64"):
            raise InputError(
                f"{self.velocity.name} computes in {self.velocity.compute_dtype}: the log-determinant of Continuous is "
                "its derivative and needs float32; give the network dtype='float32'."
            )
        build_conditioner(self.velocity, (None, input_shape[-1] + 1), input_shape[-1])

    def bijector(self) -> tfb.Bijector:
        def derivative(time: Tensor, state: Tensor) -> Tensor:
            time = ops.broadcast_to(ops.cast(time, state.dtype), (*ops.shape(state)[:-1], 1))
            return ops.cast(self.velocity(ops.concatenate([state, time], axis=-1)), state.dtype)

        return tfb.FFJORD(derivative, self._solve, trace_augmentation_fn=_with_trace, dtype=self.dtype)

    def _solve(
        self, ode_fn: Derivative, initial_time: Tensor, initial_state: State, solution_times: Tensor
    ) -> types.SimpleNamespace:
        """Solves the equation up to `solution_times[0]`, with the interface that FFJORD expects of a solver."""
        step = (solution_times[0] - initial_time) / self.num_steps

        def after(state: State, slope: Sequence[Tensor], span: Tensor) -> State:
            return tuple(value + span * change for value, change in zip(state, slope, strict=True))

        def advance(index: Tensor, state: State) -> State:
            time = initial_time + step * ops.cast(index, self.dtype)
            k1 = ode_fn(time, state)
            k2 = ode_fn(time + step / 2, after(state, k1, step / 2))
            k3 = ode_fn(time + step / 2, after(state, k2, step / 2))
            k4 = ode_fn(time + step, after(state, k3, step))
            return after(state, [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], step / 6)

        state = ops.fori_loop(0, self.num_steps, advance, initial_state)
        return types.SimpleNamespace(states=tuple(value[None] for value in state))

    def get_config(self) -> dict[str, Any]:
        velocity = keras.saving.serialize_keras_object(self.velocity)
        return {**super().get_config(), "velocity": velocity, "num_steps": self.num_steps}


def _with_trace(ode_fn: Callable[[Tensor, Tensor], Tensor], state_shape: Shape, dtype: str) -> Derivative:
    """Returns `ode_fn` with the diagonal of its Jacobian; TFP's own, a loop, has no gradient on JAX."""

    def augmented(time: Tensor, state: State) -> State:
        h, _ = state
        values, diagonal = [], []
        for i in range(h.shape[-1]):
            value, gradient = tfp.math.value_and_gradient(lambda h, i=i: ode_fn(time, h)[:, i], h)
            values.append(value)
            diagonal.append(gradient[:, i])
        return ops.stack(values, axis=-1), ops.stack(diagonal, axis=-1)

    return augmented
