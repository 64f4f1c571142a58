"""Writes the reference values that tests/zoo/test_reference_values.py compares every later version with.

python tools/reference_values.py entries [NAME ...]    log_prob of images, first samples, number of weights of entries
python tools/reference_values.py saved                 small models of every family as `.keras` files, with log_prob

`entries` is run again where an entry's weights or the stream of samples change, by default for all entries; images that
are there already are kept. `saved` holds what version 0.1 wrote: files that later versions have to load, so it is
not run again.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import tfflows
from tfflows import layers, models, nets, zoo
from tfflows.flow import optimizers

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "reference"


def write_entries(names):
    path = FOLDER / "entries.npz"
    with np.load(path, allow_pickle=False) as file:
        before = dict(file)
    values = dict(before) if names else {}
    for name in names or zoo.list_models(trained=True):
        flow = zoo.load(name, weights="packaged")
        labels = None if flow.num_classes is None else np.arange(4) % flow.num_classes
        values[f"{name}.samples"] = flow.sample(4, seed=0, condition=labels)
        values[f"{name}.images"] = images = before.get(f"{name}.images", values[f"{name}.samples"])
        values[f"{name}.log_prob"] = keras.ops.convert_to_numpy(flow.log_prob(images, labels))
        values[f"{name}.num_weights"] = flow.count_params()
        print(name, values[f"{name}.log_prob"], flow.count_params(), flush=True)
    np.savez_compressed(path, **values)


def small_flows():
    image, vector = (4, 4, 1), (4,)
    small = {"num_values": 17}

    def chain(*from_data):
        return layers.Chain(list(from_data)[::-1])

    return {
        "nice": tfflows.Flow(models.nice(image, 17, hidden=(8,)), image, base="logistic", **small),
        "realnvp_variational": tfflows.Flow(
            models.realnvp(image, 17, filters=4, num_blocks=1),
            image,
            dequantizer=models.variational(image, 17, filters=4, num_blocks=1),
            **small,
        ),
        "glow_conditional": tfflows.Flow(
            models.glow(image, 17, condition_size=3, num_levels=2, num_steps=2, width=8, lu=True, recompute="inverse"),
            image,
            num_classes=3,
            **small,
        ),
        "maf_mixture": tfflows.Flow(
            models.maf(image, 17, num_layers=1, hidden=(16,), mixture_components=2), image, base="mixture", **small
        ),
        "vectors": tfflows.Flow(
            chain(
                layers.Coupling(nets.MLP((8,)), transformer="spline", mask="odd_even"),
                layers.Invert(layers.Autoregressive(nets.MADE((8,)))),
                layers.Permute("reverse"),
                layers.Planar(),
                layers.Continuous(nets.MLP((8,), activation="tanh"), num_steps=4),
                layers.ActNorm(),
                layers.Conv1x1(),
            ),
            vector,
            dequantizer=None,
        ),
    }


def write_saved():
    values, random = {}, np.random.RandomState(0)
    for name, flow in small_flows().items():
        for weight in flow.transform.weights + flow.base.weights:
            if "float" in weight.dtype:
                weight.assign(0.2 * random.standard_normal(weight.shape))
        flow.adapted.assign(1)
        if flow.dequantizer is None:
            x = random.standard_normal((8, *flow.event_shape)).astype("float32")
        else:
            x = random.randint(0, 17, (8, *flow.event_shape)).astype("uint8")
        labels = None if flow.num_classes is None else np.arange(8) % flow.num_classes
        data = x if labels is None else {"image": x, "label": labels}
        optimizer = "adamax" if name == "maf_mixture" else optimizers.AdamW(1e-4, use_ema=True)
        flow.compile(optimizer)
        flow.fit(data, epochs=1, batch_size=4, verbose=0)
        values[f"{name}.x"] = x
        values[f"{name}.log_prob"] = keras.ops.convert_to_numpy(flow.log_prob(x, labels))
        flow.save(FOLDER / f"{name}.keras")
        print(name, values[f"{name}.log_prob"])
    np.savez_compressed(FOLDER / "saved.npz", **values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("entries", "saved"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; default all")
    options = parser.parse_args()
    if options.what == "entries":
        write_entries(options.names)
    else:
        write_saved()
