"""RealNVP at 32x32x3: tfflows against the same flow written in PyTorch.

    python benchmarks/realnvp.py [--torch-python PATH] [--rounds 20]

Two levels, residual networks of 2 blocks and 32 filters, batch 32, float32: each side has the same convolutions, weight
normalisation, batch normalisation between couplings and Adam, and the same number of weights, which is checked.
normflows has no RealNVP of images, so PyTorch's is written here. It is given real numbers, ours integers, for which it
draws the noise of dequantization. The sides take turns; PyTorch does so in a process of its own, that of
`--torch-python` (extra `bench`). Writes results/realnvp.json.
"""

import subprocess

from glow import BATCH, IMAGES, SHAPE, finish, keras_step, read_options, worker
from timing import take_turns, write

BLOCKS, FILTERS = 2, 32


def ours():
    from tfflows import Flow, models

    flow = Flow(models.realnvp(SHAPE, 256, num_levels=2, num_blocks=BLOCKS, filters=FILTERS), SHAPE)
    flow.compile("adam")
    flow.adapt(IMAGES)
    number = sum(int(weight.shape.num_elements()) for weight in flow.trainable_variables)
    return number, {
        "step": keras_step(flow, IMAGES),
        "log_prob": lambda: finish(flow.log_prob(IMAGES)),
        "sample": lambda: finish(flow.sample(BATCH, seed=0)),
    }


PYTORCH = f"""
import math
import numpy as np, torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
B, C, SIZE, BLOCKS, FILTERS = {BATCH}, {SHAPE[2]}, {SHAPE[0]}, {BLOCKS}, {FILTERS}

class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel_size):
        super().__init__()
        self.v = nn.Parameter(0.1 * torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.g, self.b = nn.Parameter(torch.ones(outputs)), nn.Parameter(torch.zeros(outputs))
        self.padding = kernel_size // 2
    def forward(self, x):
        scale = self.g / torch.sqrt(torch.sum(self.v**2, dim=(1, 2, 3)) + 1e-12)
        return F.conv2d(x, self.v * scale[:, None, None, None], self.b, padding=self.padding)

class Net(nn.Module):
    def __init__(self, inputs, filters, outputs):
        super().__init__()
        self.first, self.first_skip = Conv(inputs, filters, 3), Conv(filters, filters, 1)
        blocks = [[Conv(filters, filters, size) for size in (1, 3, 1)] for _ in range(BLOCKS)]
        self.blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.last = nn.Conv2d(filters, outputs, 1)
        nn.init.zeros_(self.last.weight), nn.init.zeros_(self.last.bias)
    def forward(self, x):
        h = self.first(x)
        skip = self.first_skip(h)
        for inner, outer, to_skip in self.blocks:
            h = h + outer(F.relu(inner(F.relu(h))))
            skip = skip + to_skip(h)
        return self.last(F.relu(skip))

class Coupling(nn.Module):
    def __init__(self, channels, size, filters, checkerboard, flip):
        super().__init__()
        self.checkerboard, self.flip = checkerboard, flip
        grid = torch.arange(size)[:, None] + torch.arange(size)[None]
        self.register_buffer("mask", ((grid % 2 == 1) ^ flip).float()[None, None])
        changed = channels if checkerboard else channels // 2
        self.net = Net(channels + 1 if checkerboard else channels // 2, filters, 2 * changed)
        self.factor = nn.Parameter(torch.ones(changed))
    def parameters_of(self, passed):
        shift, h = self.net(passed).chunk(2, dim=1)
        return shift, 5 * torch.tanh(self.factor / 5)[:, None, None] * torch.tanh(h)
    def run(self, x, transform):
        if self.checkerboard:
            masked = x * self.mask
            mask = self.mask.expand(len(x), -1, -1, -1)
            y, log_det = transform(x, *self.parameters_of(torch.cat([masked, mask], dim=1)))
            y, log_det = torch.where(self.mask > 0, x, y), torch.where(self.mask > 0, torch.zeros_like(x), log_det)
        else:
            first, second = x.chunk(2, dim=1)
            passed, part = (second, first) if self.flip else (first, second)
            part, log_det = transform(part, *self.parameters_of(passed))
            y = torch.cat([part, passed] if self.flip else [passed, part], dim=1)
        return y, log_det.sum(dim=(1, 2, 3))
    def inverse(self, x):
        return self.run(x, lambda x, shift, log_scale: ((x - shift) * torch.exp(-log_scale), -log_scale))
    def sample(self, z):
        return self.run(z, lambda z, shift, log_scale: (z * torch.exp(log_scale) + shift, log_scale))[0]

class BatchNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("variance", torch.ones(1, channels, 1, 1))
    def inverse(self, x):
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), keepdim=True, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, 0.05), self.variance.lerp_(variance, 0.05)
        log_scale = 0.5 * torch.log(variance + 1e-4)
        log_det = -x.shape[2] * x.shape[3] * log_scale.sum()
        return (x - mean) * torch.exp(-log_scale), log_det.expand(len(x))
    def sample(self, z):
        return z * torch.sqrt(self.variance + 1e-4) + self.mean

class Squeeze(nn.Module):
    def inverse(self, x):
        return F.pixel_unshuffle(x, 2), 0.0
    def sample(self, z):
        return F.pixel_shuffle(z, 2)

def couplings(number, channels, size, filters, checkerboard):
    for index in range(number):
        yield Coupling(channels, size, filters, checkerboard, index % 2 == 1)
        yield BatchNorm(channels)

class RealNVP(nn.Module):
    def __init__(self):
        super().__init__()
        first = [*couplings(3, C, SIZE, FILTERS, True), Squeeze()]
        self.first = nn.ModuleList([*first, *couplings(3, 4 * C, SIZE // 2, 2 * FILTERS, False)])
        self.last = nn.ModuleList(couplings(4, 2 * C, SIZE // 2, 2 * FILTERS, True))
    def log_prob(self, x):
        y = 0.05 + 0.9 * x
        z = torch.log(y) - torch.log1p(-y)
        total = (F.softplus(z) + F.softplus(-z) + math.log(0.9)).sum(dim=(1, 2, 3))
        for layer in self.first:
            z, log_det = layer.inverse(z)
            total = total + log_det
        factored, z = z.chunk(2, dim=1)
        for layer in self.last:
            z, log_det = layer.inverse(z)
            total = total + log_det
        for latent in (factored, z):
            total = total - 0.5 * (latent**2 + math.log(2 * math.pi)).sum(dim=(1, 2, 3))
        return total
    def sample(self, number):
        factored, z = torch.randn(number, 4 * C, SIZE // 2, SIZE // 2).chunk(2, dim=1)
        for layer in reversed(self.last):
            z = layer.sample(z)
        z = torch.cat([factored, z], dim=1)
        for layer in reversed(self.first):
            z = layer.sample(z)
        return ((torch.sigmoid(z) - 0.05) / 0.9 * 256).clamp(0, 255).byte()

model = RealNVP()
x = torch.tensor(np.random.RandomState(0).uniform(size=(B, C, SIZE, SIZE)).astype("float32"))
optimizer = torch.optim.Adam(model.parameters())
def step():
    model.train()
    penalty = sum((module.g**2).sum() for module in model.modules() if isinstance(module, Conv))
    optimizer.zero_grad(); loss = -model.log_prob(x).mean() + 5e-5 * penalty; loss.backward()
    optimizer.step(); loss.item()
@torch.no_grad()
def log_prob(): model.eval().log_prob(x).numpy()
@torch.no_grad()
def sample(): model.eval().sample(B).numpy()
"""
COUNT = "\nprint(sum(weight.numel() for weight in model.parameters()))"


def main():
    options = read_options(__doc__)
    counted = subprocess.run([options.torch_python, "-c", PYTORCH + COUNT], capture_output=True, text=True, check=True)
    number, ours_of = ours()
    if number != int(counted.stdout):
        raise RuntimeError(f"tfflows has {number:,} trainable weights, the flow in PyTorch {counted.stdout.strip()}")
    theirs = worker(PYTORCH, tuple(ours_of), options.torch_python, options.threads)
    results = {
        what: take_turns({"tfflows": ours_of[what], "PyTorch": theirs[what]}, options.rounds) for what in ours_of
    }
    write("realnvp", {"weights": number, **results})


if __name__ == "__main__":
    main()
