"""Glow at 32x32x3: tfflows against its own networks alone, `tfb.Glow` and normflows.

    python benchmarks/glow.py [--torch-python PATH] [--rounds 20]

3 levels of 8 steps, networks of width 128, batch 32, float32. A training step is that of Keras with our Adam; that of
`tfb.Glow` is the gradient alone, which favours it; the networks alone (the floor) are ours, each fed by the one
before. All sides take turns; normflows does so in a process of its own, that of `--torch-python` (extra `bench`).
Writes results/glow.json.
"""

import argparse
import subprocess
import sys

import numpy as np
from timing import take_turns, write

SHAPE, LEVELS, STEPS, WIDTH, BATCH = (32, 32, 3), 3, 8, 128, 32
IMAGES = np.random.RandomState(0).randint(0, 256, (BATCH, *SHAPE)).astype("uint8")


def ours():
    from tfflows import Flow, models

    flow = Flow(models.glow(SHAPE, 256, num_levels=LEVELS, num_steps=STEPS, width=WIDTH), SHAPE)
    flow.compile("adam")
    flow.adapt(IMAGES)
    return {
        "step": keras_step(flow, IMAGES),
        "log_prob": lambda: finish(flow.log_prob(IMAGES)),
        "sample": lambda: finish(flow.sample(BATCH, seed=0)),
    }


def finish(x):
    """Waits for a result."""
    np.asarray(x)


def keras_step(model, images):
    """A function of one training step of Keras, as `fit` takes it."""
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)
    batches = iter(tf.data.Dataset.from_tensors((images, tf.zeros(len(images)))).repeat())
    model.make_train_function()

    def run():
        float(model.train_function(batches)["loss"])

    return run


def floor():
    """The same networks in a chain: those of a level see half of its channels, as in the flow."""
    import keras
    from keras import ops

    from tfflows import nets
    from tfflows.flow import optimizers

    class Networks(keras.Model):
        def __init__(self):
            super().__init__()
            self.levels, channels = [], SHAPE[2]
            for level in range(LEVELS):
                channels *= 4
                steps = [nets.GlowConvNet(WIDTH, channels) for _ in range(STEPS)]
                self.levels.append([*steps, nets.ZeroConv2D(channels)] if level < LEVELS - 1 else steps)
                channels //= 2

        def call(self, x, training=False):
            x = ops.cast(x, "float32") / 256
            total = 0.0
            for level in self.levels:
                _, h, w, c = x.shape
                x, _ = ops.split(ops.reshape(x, (-1, h // 2, w // 2, 4 * c)), 2, axis=-1)
                for net in level:
                    first, second = ops.split(net(x), 2, axis=-1)
                    x, total = x + first, total + ops.mean(second)
            return total + ops.mean(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return y_pred

    model = Networks()
    model.compile(optimizers.Adam())
    model(IMAGES)
    return {"step": keras_step(model, IMAGES)}


def tfp_glow():
    import tensorflow as tf
    import tensorflow_probability as tfp

    glow = tfp.bijectors.Glow(
        output_shape=SHAPE,
        num_glow_blocks=LEVELS,
        num_steps_per_block=STEPS,
        coupling_bijector_fn=lambda shape: tfp.bijectors.GlowDefaultNetwork(shape, num_hidden=WIDTH),
        exit_bijector_fn=tfp.bijectors.GlowDefaultExitNetwork,
    )
    size = int(np.prod(SHAPE))
    density = tfp.distributions.TransformedDistribution(
        tfp.distributions.MultivariateNormalDiag(tf.zeros(size), tf.ones(size)), glow
    )
    x = tf.constant(IMAGES, "float32") / 256

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(density.log_prob(x))
        return loss, tape.gradient(loss, glow.trainable_variables)

    def run():
        finish(gradient()[0])

    return {"step": run}


NORMFLOWS = """
import numpy as np, torch, normflows as nf
torch.manual_seed(0)
L, K, width, B, shape = 3, 8, 128, 32, (3, 32, 32)
q0, merges, flows = [], [], []
for i in range(L):
    channels = shape[0] * 2 ** (L + 1 - i)
    level = [nf.flows.GlowBlock(channels, width, split_mode="channel", scale=True) for _ in range(K)]
    flows.append([*level, nf.flows.Squeeze()])
    if i > 0:
        merges.append(nf.flows.Merge())
        latent = (shape[0] * 2 ** (L - i), shape[1] // 2 ** (L - i), shape[2] // 2 ** (L - i))
    else:
        latent = (shape[0] * 2 ** (L + 1), shape[1] // 2**L, shape[2] // 2**L)
    q0.append(nf.distributions.DiagGaussian(latent))
model = nf.MultiscaleFlow(q0, flows, merges)
x = torch.tensor(np.random.RandomState(0).uniform(size=(B, *shape)).astype("float32"))
optimizer = torch.optim.Adam(model.parameters())
def step():
    optimizer.zero_grad(); loss = model.forward_kld(x); loss.backward(); optimizer.step(); loss.item()
@torch.no_grad()
def log_prob(): model.log_prob(x, None).numpy()
@torch.no_grad()
def sample(): model.sample(B)[0].numpy()
"""
ANSWER = """
import sys, time
torch.set_num_threads(int(sys.argv[1]))
for line in sys.stdin:
    start = time.perf_counter(); globals()[line.strip()](); print(time.perf_counter() - start, flush=True)
"""


def worker(code, names, python, threads):
    """Functions of `code`, in a process of their own, which waits while others are measured and prints its times."""
    process = subprocess.Popen(
        [python, "-c", code + ANSWER, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )

    def ask(what):
        process.stdin.write(what + "\n")
        return float(process.stdout.readline())

    return {what: lambda what=what: ask(what) for what in names}


def read_options(documentation):
    """Options of a benchmark that has a side in PyTorch."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="default: this one")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; TensorFlow takes all cores")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


def main():
    options = read_options(__doc__)
    sides = {
        "tfflows": ours(),
        "networks alone": floor(),
        "tfb.Glow, gradient": tfp_glow(),
        "normflows": worker(NORMFLOWS, ("step", "log_prob", "sample"), options.torch_python, options.threads),
    }
    results = {}
    for what in ("step", "log_prob", "sample"):
        found = {name: functions[what] for name, functions in sides.items() if what in functions}
        results[what] = take_turns(found, options.rounds)
    write("glow", results)


if __name__ == "__main__":
    main()
