"""Adam, AdamW, Adamax and Muon: few TensorFlow operations for each weight, and one clipping for all replicas."""

import re
import types
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfflows._backend import Tensor
from tfflows.errors import InputError
from tfflows.nets.masked import MaskedKernel


class _ClippedAsOne:
    """A mixin that clips the gradient of the whole batch: Keras clips that of each of TensorFlow's replicas alone."""

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            context = tf.distribute.get_replica_context()
            if context is not None and context.num_replicas_in_sync > 1:
                grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        return super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars: list[Any]) -> list[Any]:
        return grads_and_vars  # the sum is what was clipped


class _OneOperation(_ClippedAsOne):
    """A mixin that updates a weight by the one operation that TensorFlow has for Adam, where Keras takes about 30.

    Averages of the weights take 9 operations fewer as well.

    A flow has many small weights (Glow twelve in each step): Keras's operations were 40 % of its training step's graph.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What the updates of all weights share within a step; in a namespace, since Keras tracks lists and dicts.
        self._step = types.SimpleNamespace(constants=None)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Updates the weights, as Keras's `apply`."""
        self._step.constants = None
        super().apply(grads, trainable_variables)
        self._step.constants = None  # tensors of a graph must not outlive it

    def _adam(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor, moments: tuple[Any, Any], betas: Any
    ) -> None:
        if self._step.constants is None:
            self._step.constants = _adam_constants(self.iterations + 1, learning_rate, *betas, self.epsilon)
        _adam_update(variable, *(moment.value for moment in moments), gradient, self._step.constants)

    def _update_model_variables_moving_average(self, trainable_variables: list[keras.Variable]) -> None:
        """Updates the moving averages as Keras does, with one momentum for all weights."""
        if not self.use_ema:
            return
        keep = ops.where(self.iterations == 0, 0.0, self.ema_momentum)  # the first average is the weight
        factors = keep, 1 - keep
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                old, new = (ops.cast(factor, variable.dtype) for factor in factors)
                average.assign(old * average + new * variable)


class _AdamStep(_OneOperation):
    """The mixin for those that update all weights as Adam does."""

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """Updates one weight, as Keras's `update_step`."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        self._adam(gradient, variable, learning_rate, moments, (self.beta_1, self.beta_2))


@keras.saving.register_keras_serializable("tfflows")
class Adam(_AdamStep, keras.optimizers.Adam):
    """Keras's Adam, with the same arguments, variables and results, faster to trace and to run on TensorFlow.

    Reference:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 1.
    """


@keras.saving.register_keras_serializable("tfflows")
class AdamW(_AdamStep, keras.optimizers.AdamW):
    """Keras's AdamW, with the same arguments, variables and results, faster to trace and to run on TensorFlow.

    Reference:
        Loshchilov and Hutter 2019, "Decoupled weight decay regularization", arXiv 1711.05101.
    """


@keras.saving.register_keras_serializable("tfflows")
class Adamax(_ClippedAsOne, keras.optimizers.Adamax):
    """Keras's Adamax, with the same arguments, variables and results.

    Reference:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 2.
    """


@keras.saving.register_keras_serializable("tfflows")
class Muon(_OneOperation, keras.optimizers.Muon):
    """Keras's Muon, for convolutions too: the step of a kernel is its momentum with all singular values made 1.

        M <- momentum M + G,   W <- W - rate 0.2 sqrt(max(m, n)) U V^T,   where U S V^T = G + momentum M is [m, n]

    U V^T comes from five steps of Newton and Schulz, and the factor gives a step the size of one of Adam, whose
    learning rates therefore serve. A convolution's kernel [h, w, in, out] is the matrix [h w in, out]. All other
    weights are updated as by Adam: vectors, the matrices of flow layers, kernels of conditions, that of the last layer
    of `PixelCNN`, and the masked ones of `MADE`, whose zeros the step of a whole matrix would move.

    On the networks of couplings and of PixelCNN it gets further than Adam in the same time, see benchmarks/README.md.

    Args:
        *args: those of `keras.optimizers.Muon`.
        weight_decay: of the kernels; None by default, other than in Keras.
        adam_weight_decay: of the other weights; None by default, other than in Keras.
        **kwargs: those of `keras.optimizers.Muon`.

    Reference:
        Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
        kellerjordan.github.io/posts/muon; Liu et al. 2025, "Muon is scalable for LLM training", arXiv 2502.16982,
        section 2.2 (the factor).
    """

    def __init__(
        self, *args: Any, weight_decay: float | None = None, adam_weight_decay: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, weight_decay=weight_decay, adam_weight_decay=adam_weight_decay, **kwargs)

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Returns U V^T of x, a kernel."""
        return _as_matrix(lambda matrix: super(Muon, self).zeropower_via_newtonschulz5(matrix, steps), x)

    def lr_adjust(self, x: Tensor) -> Tensor:
        """Returns x, a kernel, times 0.2 sqrt(max(m, n))."""
        return _as_matrix(super().lr_adjust, x)

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        convolution = len(variable.shape) == 4
        dense = len(variable.shape) == 2 and re.fullmatch(r"kernel(_\d+)?", variable.name)
        if isinstance(variable, MaskedKernel) or not (convolution or dense):
            return True
        return any(re.search(word, variable.path) for word in self.exclude_layers)

    def _adamw_update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor, m: keras.Variable, v: keras.Variable
    ) -> None:
        if keras.backend.backend() == "tensorflow":
            self._adam(gradient, variable, learning_rate, (m, v), (self.adam_beta_1, self.adam_beta_2))
        else:
            super()._adamw_update_step(gradient, variable, learning_rate, m, v)


def _as_matrix(function: Callable[[Tensor], Tensor], kernel: Tensor) -> Tensor:
    """Returns `function` of a kernel [..., in, out] as the matrix [m, out], in the kernel's shape."""
    return ops.reshape(function(ops.reshape(kernel, (-1, kernel.shape[-1]))), kernel.shape)


def get(optimizer: str | keras.optimizers.Optimizer | None, **config: Any) -> keras.optimizers.Optimizer | None:
    """Returns an optimizer by its Keras name, where "adam", "adamw", "adamax" and "muon" are those of this module.

    Args:
        optimizer: a name, or a dict as Keras serializes optimizers; anything else is returned as it is.
        **config: the optimizer's arguments.
    """
    if not isinstance(optimizer, str):
        return keras.optimizers.get(optimizer) if isinstance(optimizer, dict) else optimizer
    ours = {"adam": Adam, "adamw": AdamW, "adamax": Adamax, "muon": Muon}.get(optimizer.lower())
    return ours(**config) if ours else keras.optimizers.get({"class_name": optimizer, "config": config})


def check_masks(optimizer: Any, variables: list[keras.Variable]) -> None:
    """Raises InputError where an optimizer would move what the masks of `MADE` hide, and so make log p wrong."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    whole_matrices = isinstance(optimizer, keras.optimizers.Muon) and not isinstance(optimizer, Muon)
    if whole_matrices and any(isinstance(variable, MaskedKernel) for variable in variables):
        raise InputError(
            "compile got keras.optimizers.Muon, whose steps move the weights that the masks of MADE hide: use 'muon', "
            "which is tfflows.flow.optimizers.Muon."
        )


def _adam_constants(
    step: Tensor, learning_rate: Tensor, beta_1: float, beta_2: float, epsilon: float
) -> dict[str, Tensor]:
    """Returns the arguments of TensorFlow's operation that all weights share in step number `step`, from 1."""
    import tensorflow as tf

    step = tf.cast(step, "float32")
    numbers = {
        "beta1_power": tf.pow(beta_1, step),
        "beta2_power": tf.pow(beta_2, step),
        "lr": learning_rate,
        "beta1": beta_1,
        "beta2": beta_2,
        "epsilon": epsilon,
    }
    return {name: tf.cast(number, "float32") for name, number in numbers.items()}


def _adam_update(variable: Any, momentum: Any, velocity: Any, gradient: Tensor, constants: dict[str, Tensor]) -> None:
    """Updates a `tf.Variable` and its two moments."""
    import tensorflow as tf

    if variable.dtype != tf.float32:
        constants = {name: tf.cast(number, variable.dtype) for name, number in constants.items()}
    gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
    handles = {"var": variable.handle, "m": momentum.handle, "v": velocity.handle}
    tf.raw_ops.ResourceApplyAdam(**handles, **constants, grad=gradient)
