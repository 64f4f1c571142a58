"""Flow layers of the sphere in cylindrical coordinates."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer, build_conditioner
from tfflows.transformers import CircularSpline, IntervalSpline

SMALLEST_RADIUS = 1e-12  # squared, of the parallel through a point: the square root has no derivative at the poles


@keras.saving.register_keras_serializable("tfflows")
class Cylinder(FlowLayer):
    """Transforms the height of a point of the sphere by an interval spline, and its angle given the height.

        x = (h, a):  z = (spline_1(h), spline_2(a; net(h))),   log|det dz/dx| = log spline_1'(h) + log spline_2'(a)

    x, z [B, 2]: the height h in [-1, 1] and the angle a in [-pi, pi) stand for the point
    (sqrt(1 - h^2) cos a, sqrt(1 - h^2) sin a, h). These coordinates preserve areas (Archimedes), so that densities in
    them are densities on the sphere, without a further determinant. With the base "sphere" the flow is the recursive
    one of the paper. What the flow does near the poles depends on the direction; between two of these layers
    `Rotation` moves the poles.

    Args:
        conditioner: a `Conditioner`, from the height [B, 1 + N] to the parameters of the angle's spline.
        num_bins: of both splines.
        condition_size: N, the channels of the condition, which the angle's spline depends on.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: x is not [B, 2].

    Reference:
        Rezende et al. 2020, "Normalizing flows on tori and spheres", arXiv 2002.02428, section 2.3.2.
    """

    def __init__(
        self, conditioner: keras.layers.Layer, num_bins: int = 8, condition_size: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.conditioner, self.num_bins, self.condition_size = conditioner, num_bins, condition_size
        self._height, self._angle = IntervalSpline(num_bins), CircularSpline(num_bins)

    def build(self, input_shape: Shape) -> None:
        _check_coordinates(self, input_shape)
        self.height_spline = self.add_weight(
            shape=(self._height.num_parameters,), initializer="zeros", name="height_spline"
        )
        build_conditioner(self.conditioner, (None, 1 + self.condition_size), self._angle.num_parameters)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        splines = self._height.bijector(ops.convert_to_tensor(self.height_spline)[None])
        height = splines.forward(z[:, :1])
        angles = self._angle_bijector(height, condition, training)
        x = ops.concatenate([height, angles.forward(z[:, 1:])], axis=-1)
        log_det = splines.forward_log_det_jacobian(z[:, :1], event_ndims=0)
        return x, (log_det + angles.forward_log_det_jacobian(z[:, 1:], event_ndims=0))[:, 0]

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        height, angle = x[:, :1], x[:, 1:]
        splines = self._height.bijector(ops.convert_to_tensor(self.height_spline)[None])
        angles = self._angle_bijector(height, condition, training)
        z = ops.concatenate([splines.inverse(height), angles.inverse(angle)], axis=-1)
        log_det = splines.inverse_log_det_jacobian(height, event_ndims=0)
        return z, (log_det + angles.inverse_log_det_jacobian(angle, event_ndims=0))[:, 0]

    def _angle_bijector(self, height: Tensor, condition: Tensor | None, training: bool) -> Any:
        if self.condition_size:
            if condition is None:
                raise InputError("This flow is conditional and got no condition: pass `condition`, [B, N].")
            height = ops.concatenate([height, ops.cast(condition, height.dtype)], axis=-1)
        return self._angle.bijector(ops.cast(self.conditioner(height, training=training), self.dtype))

    def get_config(self) -> dict[str, Any]:
        conditioner = keras.saving.serialize_keras_object(self.conditioner)
        config = {"conditioner": conditioner, "num_bins": self.num_bins, "condition_size": self.condition_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tfflows")
class Rotation(FlowLayer):
    """Turns the sphere by a learned rotation: log-det 0, since it preserves areas.

    x, z [B, 2] in the coordinates of `Cylinder`. The rotation is that of a unit quaternion, which starts as a random
    one (Shoemake 1992, uniform).

    Args:
        seed: of the first rotation.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: x is not [B, 2].
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        _check_coordinates(self, input_shape)
        value = np.random.RandomState(self.seed).randn(4)
        self.quaternion = self.add_weight(
            shape=(4,), initializer=lambda shape, dtype: value.astype(dtype), name="quaternion"
        )

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._turn(z, self._matrix())

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._turn(x, ops.transpose(self._matrix()))

    def _turn(self, x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        # Sums of products, since GPUs round the operands of matrix products.
        points = ops.sum(to_points(x)[:, None, :] * matrix, axis=-1)
        return from_points(points), ops.zeros_like(x[:, 0])

    def _matrix(self) -> Tensor:
        """Returns the rotation [3, 3] of the quaternion w + x i + y j + z k, normalised."""
        q = ops.convert_to_tensor(self.quaternion)
        w, x, y, z = ops.unstack(q / ops.sqrt(ops.sum(ops.square(q))))
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return ops.stack([ops.stack(row) for row in rows])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def to_points(x: Tensor) -> Tensor:
    """Returns the points [B, 3] of the unit sphere with coordinates x [B, 2]: height and angle."""
    height, angle = x[:, 0], x[:, 1]
    radius = ops.sqrt(ops.maximum(1 - ops.square(height), SMALLEST_RADIUS))
    return ops.stack([radius * ops.cos(angle), radius * ops.sin(angle), height], axis=-1)


def from_points(points: Tensor) -> Tensor:
    """Returns the height in [-1, 1] and the angle in [-pi, pi] [B, 2] of points [B, 3] of the unit sphere."""
    angle = ops.arctan2(points[:, 1], points[:, 0])
    return ops.stack([ops.clip(points[:, 2], -1.0, 1.0), angle], axis=-1)


def _check_coordinates(layer: FlowLayer, input_shape: Shape) -> None:
    if tuple(input_shape[1:]) != (2,):
        raise InputError(
            f"{type(layer).__name__} takes the coordinates [B, 2] of points of the sphere, height and angle, and got "
            f"shape {tuple(input_shape)}."
        )
