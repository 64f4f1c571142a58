"""MAF's log_prob and training step: tfflows against TensorFlow Probability and nflows.

    python benchmarks/maf.py [--torch-python PATH] [--rounds 20]

Five MADEs with two hidden layers of 1024 and affine transformers on 784 real numbers, the order reversed between them,
a batch of 64, float32. A training step is that of Keras with our Adam, and nflows' with PyTorch's; that of TensorFlow
Probability is the gradient alone, which favours it. "Mixtures" has mixtures of 5 normals in the MADE at the base, as
`maf_mnist_mog`; "networks alone" are the same products with neither masks nor transformers, and their gradient. All
sides take turns; nflows does so in a process of its own, that of `--torch-python` (extra `bench`). Writes
results/maf.json.
"""

import numpy as np
from glow import finish, keras_step, read_options, worker
from timing import take_turns, write

SIZE, BATCH, LAYERS, HIDDEN, COMPONENTS = 784, 64, 5, (1024, 1024), 5
X = np.random.RandomState(0).normal(size=(BATCH, SIZE)).astype("float32")


def ours(mixtures=False):
    from tfflows import Flow, layers, nets, transformers

    parts = []
    for index in range(LAYERS):
        at_base = mixtures and index == 0
        each = transformers.MixtureOfGaussians(COMPONENTS) if at_base else "affine"
        parts += [layers.Autoregressive(nets.MADE(HIDDEN), each), layers.Permute("reverse")]
    flow = Flow(layers.Chain(parts), (SIZE,), dequantizer=None)
    flow.compile("adam")
    return {"step": keras_step(flow, X), "log_prob": lambda: finish(flow.log_prob(X))}


def floor(mixtures=False):
    import tensorflow as tf

    random, kernels = np.random.RandomState(0), []
    for index in range(LAYERS):
        parameters = 3 * COMPONENTS if mixtures and index == 0 else 2
        shapes = (SIZE, HIDDEN[0]), HIDDEN, (HIDDEN[1], parameters * SIZE)
        kernels += [tf.Variable(0.02 * random.normal(size=shape).astype("float32")) for shape in shapes]
    x = tf.constant(X)

    @tf.function
    def networks():
        h = x
        for index in reversed(range(LAYERS)):
            a, b, c = kernels[3 * index : 3 * index + 3]
            h = (tf.nn.relu(tf.nn.relu(h @ a) @ b) @ c)[:, :SIZE]
        return tf.reduce_sum(h)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            value = networks()
        return value, tape.gradient(value, kernels)

    return {"step": lambda: finish(gradient()[0]), "log_prob": lambda: finish(networks())}


def tfp():
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfb, parts = tfp.bijectors, []
    for _ in range(LAYERS):
        # The masks are constraints: its kernels are multiplied when they change, here never.
        net = tfb.AutoregressiveNetwork(
            params=2,
            event_shape=[SIZE],
            hidden_units=list(HIDDEN),
            activation="relu",
            kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        parts += [tfb.Permute(list(range(SIZE))[::-1]), tfb.MaskedAutoregressiveFlow(net)]
    flow = tfb.Chain(parts)
    base = tfp.distributions.MultivariateNormalDiag(tf.zeros(SIZE), tf.ones(SIZE))
    density = tfp.distributions.TransformedDistribution(base, flow)
    log_prob = tf.function(density.log_prob)
    inverse = tf.function(flow.inverse)
    x = tf.constant(X)
    log_prob(x)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(density.log_prob(x))
        return loss, tape.gradient(loss, flow.trainable_variables)

    return {
        "step": lambda: finish(gradient()[0]),
        "log_prob": lambda: finish(log_prob(x)),
        "inverse": lambda: finish(inverse(x)),
    }


NFLOWS = """
import numpy as np, torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import CompositeTransform, MaskedAffineAutoregressiveTransform, ReversePermutation
torch.manual_seed(0)
size, width, batch = 784, 1024, 64
parts = []
for _ in range(5):
    parts += [MaskedAffineAutoregressiveTransform(size, width, num_blocks=1, use_residual_blocks=False)]
    parts += [ReversePermutation(size)]
model = Flow(CompositeTransform(parts), StandardNormal([size]))
x = torch.tensor(np.random.RandomState(0).normal(size=(batch, size)).astype("float32"))
optimizer = torch.optim.Adam(model.parameters())
def step():
    optimizer.zero_grad(); loss = -model.log_prob(x).mean(); loss.backward(); optimizer.step(); loss.item()
@torch.no_grad()
def log_prob(): model.log_prob(x).numpy()
"""


def main():
    options = read_options(__doc__)
    sides = {
        "tfflows": ours(),
        "networks alone": floor(),
        "TensorFlow Probability": tfp(),
        "nflows": worker(NFLOWS, ("step", "log_prob"), options.torch_python, options.threads),
        "tfflows, mixtures": ours(mixtures=True),
        "networks alone, mixtures": floor(mixtures=True),
    }
    results = {}
    for what in ("step", "log_prob", "inverse"):
        found = {name: functions[what] for name, functions in sides.items() if what in functions}
        results[what] = take_turns(found, options.rounds)
    write("maf", results)


if __name__ == "__main__":
    main()
