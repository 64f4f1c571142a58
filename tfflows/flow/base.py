"""Base distributions of flows: p(z) with independent dimensions, a temperature, and sampling from given uniforms."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import DensityLayer, Tensor, tfd
from tfflows.errors import InputError, UnsupportedError

KINDS = ("normal", "logistic", "mixture", "torus", "sphere")
UNIFORM = ("torus", "sphere")
ROUNDING = 1e-5  # by which a height may pass the poles


# Under the name that files of version 0.1 have.
@keras.saving.register_keras_serializable("tfflows", name="Prior")
class BaseDistribution(DensityLayer):
    """The base distribution of a flow over z [B, *latent_shape], with independent dimensions given the component.

        "normal"    p(z) = prod_d N(z_d; 0, 1)
        "logistic"  p(z) = prod_d sigmoid(z_d) sigmoid(-z_d)     (Dinh et al. 2015, section 3.4)
        "mixture"   p(z) = sum_k w_k prod_d N(z_d; m_kd, s_kd), all parameters learned
        "torus"     uniform: p(z) = (2 pi)^-D for angles z_d
        "sphere"    uniform: p(z) = 1 / (4 pi) for z = (height in [-1, 1], angle), see `layers.Cylinder`

    At temperature T the scale of every normal or logistic is multiplied by T; uniform ones have none.

    Args:
        kind: see above.
        num_components: of a mixture.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there is no such kind; in `build`, where the sphere's z is not [B, 2].

    Reference:
        Dinh, Krueger and Bengio 2015, "NICE", arXiv 1410.8516.
    """

    def __init__(self, kind: str = "normal", num_components: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise InputError(f"No base distribution is called {kind!r}: use one of {', '.join(map(repr, KINDS))}.")
        self.kind, self.num_components = kind, num_components

    def build(self, latent_shape: Any) -> None:
        """Builds for z of shape [None, *latent_shape]."""
        self.latent_shape = tuple(latent_shape[1:])
        self.size = math.prod(self.latent_shape)
        if self.kind == "sphere" and self.latent_shape != (2,):
            raise InputError(f"The sphere has the coordinates [height, angle] and z has shape {self.latent_shape}.")
        if self.kind == "mixture":
            shape = (self.num_components, self.size)
            self.loc = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(0, 1), name="loc")
            self.log_scale = self.add_weight(shape=shape, initializer="zeros", name="log_scale")
            self.logits = self.add_weight(shape=shape[:1], initializer="zeros", name="logits")

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights, also from where files of version 0.1 have them."""
        if self.weights and not len(store):
            store = store.h5_file["layers/prior/vars"]
        super().load_own_variables(store)

    @property
    def num_uniforms(self) -> int:
        """The number of uniform numbers that one sample takes."""
        return self.size + (self.kind == "mixture")

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z) [B] in nats of z [B, *latent_shape]."""
        if self.kind in UNIFORM:
            return ops.sum(self.local_log_prob(z), axis=tuple(range(1, len(z.shape))))
        return self._distribution().log_prob(ops.reshape(z, (-1, self.size)))

    def local_log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z_d) [B, *latent_shape] of single dimensions; `UnsupportedError` for a mixture."""
        if self.kind == "mixture":
            raise UnsupportedError("A mixture base has no density of single dimensions: use log_prob.")
        if self.kind == "sphere":
            height, angle = ops.split(ops.zeros_like(z) - np.log(2 * self._half_lengths()), 2, axis=-1)
            outside = ops.abs(z[:, :1]) > 1 + ROUNDING
            return ops.concatenate([ops.where(outside, -np.inf, height), angle], axis=-1)
        if self.kind == "torus":  # angles are angles modulo 2 pi: no z is outside
            return ops.zeros_like(z) - np.log(2 * self._half_lengths())
        return self._scalar(ops.ones_like(z)).log_prob(z)

    def _half_lengths(self) -> np.ndarray:
        """Returns h for each dimension of a uniform distribution, which is that on [-h, h]."""
        lengths = (1.0, math.pi) if self.kind == "sphere" else np.full(self.latent_shape, math.pi)
        return np.asarray(lengths, self.dtype)

    def sample(self, uniforms: Tensor, temperature: Tensor) -> Tensor:
        """Returns z [B, *latent_shape], a function of uniform numbers.

        Args:
            uniforms: [B, num_uniforms], strictly between 0 and 1.
            temperature: [B].
        """
        temperature = ops.cast(temperature, self.dtype)[:, None]
        if self.kind == "mixture":
            chosen = tfd.Categorical(logits=ops.convert_to_tensor(self.logits))
            edges = ops.cumsum(chosen.probs_parameter())
            component = ops.sum(ops.cast(uniforms[:, :1] > edges[None, :-1], "int32"), axis=-1)  # [B]
            loc, scale = (ops.take(w, component, axis=0) for w in (self.loc, ops.exp(self.log_scale)))
            z = tfd.Normal(loc, scale * temperature).quantile(uniforms[:, 1:])
        elif self.kind in UNIFORM:
            z = (2 * uniforms - 1) * self._half_lengths().reshape(1, -1)
        else:
            z = self._scalar(ops.broadcast_to(temperature, ops.shape(uniforms))).quantile(uniforms)
        return ops.reshape(z, (-1, *self.latent_shape))

    def _scalar(self, scale: Tensor) -> Any:
        family = tfd.Normal if self.kind == "normal" else tfd.Logistic
        return family(ops.zeros_like(scale), scale)

    def _distribution(self) -> Any:
        if self.kind == "mixture":
            return tfd.MixtureSameFamily(
                tfd.Categorical(logits=ops.convert_to_tensor(self.logits)),
                tfd.MultivariateNormalDiag(
                    ops.convert_to_tensor(self.loc), ops.exp(ops.convert_to_tensor(self.log_scale))
                ),
            )
        return tfd.Independent(self._scalar(np.ones(self.size, self.dtype)), reinterpreted_batch_ndims=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "kind": self.kind, "num_components": self.num_components}


def get(base: str | BaseDistribution) -> BaseDistribution:
    """Returns a base distribution from its name or itself."""
    return base if isinstance(base, BaseDistribution) else BaseDistribution(base)
