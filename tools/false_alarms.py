"""Measures verdicts at a false-alarm rate of 1 %: false alarms on test images, detections of other images.

python tools/false_alarms.py [NAME ...]          trained entries (default: all in saved_models/)
python tools/false_alarms.py --leave-out 0 1     NICE of MNIST, trained here without one digit

Alarms are counted on test images, which neither the weights nor the threshold have seen: with the threshold from
validation images (calibration.json of the weights) on the whole test split, and with one from a random half of the test
split on the other half, which is exchangeable with it by construction. Detections are by the former. The strangers: the
test images of the other of MNIST and Fashion-MNIST, blank images, uniform noise, test images turned by 90 degrees.
Prints Markdown; the interval is where 95 % of the numbers of alarms lie, were the images exchangeable.
"""

import argparse
import dataclasses

import keras
import numpy as np

from tfflows import Flow, data, models, zoo
from tfflows.evaluation import calibration, scores, verdicts
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder

RATE, COUNT = 0.01, 500  # COUNT of each kind of strangers
OTHER = {"mnist": ("fashion_mnist", "Fashion-MNIST"), "fashion_mnist": ("mnist", "MNIST")}


def strangers(test, config):
    """{kind: images} of what a model of `test` should report."""
    draw = np.random.RandomState(0)
    kinds = {}
    if config.dataset in OTHER:
        other, title = OTHER[config.dataset]
        # a recipe of the other data set with the same preparation of images
        kinds[title] = data.arrays(zoo.recipe(f"nice_{other}").data, "test", limit=COUNT)["image"]
    kinds["blank"] = np.zeros_like(test[:1])
    kinds["noise"] = draw.randint(0, config.num_values, test[:COUNT].shape).astype(test.dtype)
    kinds["rotated"] = np.rot90(test[:COUNT], axes=(1, 2))
    return kinds


def detection(calibrated, images):
    return f"{np.mean(calibrated.is_anomaly(np.ascontiguousarray(images), RATE)):.1%}"


def row(name, limit):
    """Cells of the table for an entry: verdicts by the likelihood."""
    folder = zoo.artefact(name, packaged=True)
    flow, config = zoo.load(name, weights="packaged"), zoo.Recipe.from_toml(folder / "recipe.toml").data
    by_likelihood = calibration.load_calibration(flow, folder)
    test = data.arrays(config, "test")["image"]
    test = test[np.random.RandomState(1).permutation(len(test))[:limit]]
    values = by_likelihood.scores(test)
    order = np.random.RandomState(0).permutation(len(test))
    first, second = np.array_split(values[order], 2)
    by_half = dataclasses.replace(by_likelihood, held_out=np.sort(first))
    cells = [alarms(by_likelihood, values), alarms(by_half, second)]
    kinds = {kind: detection(by_likelihood, images) for kind, images in strangers(test, config).items()}
    other = kinds.get("Fashion-MNIST") or kinds.get("MNIST") or ""
    return f"| {name} | " + " | ".join([*cells, other, *(kinds[kind] for kind in ("blank", "noise", "rotated"))]) + " |"


def alarms(calibrated, values):
    """The number and share of alarms, and the interval that it lies in."""
    number = int(np.sum(calibrated.p_value_of_scores(values) <= RATE))
    low, high = verdicts.expected_alarms(len(values), len(calibrated.held_out), RATE)
    mark = "" if low <= number <= high else " *"
    return f"{number:,} of {len(values):,}, {number / len(values):.2%} | {low:,} to {high:,}{mark}"


def without(split, digit):
    """Images of a split of MNIST but one digit, and those of the digit."""
    arrays = data.arrays(zoo.recipe("maf_mnist").data, split)
    is_digit = arrays["label"] == digit
    return arrays["image"][~is_digit], arrays["image"][is_digit]


def left_out(digit, epochs):
    """Cells of the table for a flow that has never seen a digit."""
    keras.utils.set_random_seed(0)
    transform = models.nice((28, 28, 1), hidden=(256,) * 4, rescale="gaussianize")
    flow = Flow(transform, (28, 28, 1), base="logistic")
    train, _ = without("train", digit)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, epochs * -(-len(train) // 128))
    flow.compile(keras.optimizers.Adam(schedule, clipnorm=100.0))
    flow.adapt(train[:5000])
    flow.fit(train, batch_size=128, epochs=epochs, verbose=0)
    held_out, (test, stranger) = without("validation", digit)[0], without("test", digit)
    cells = [f"{np.mean(scores.bits_per_dim(flow, test)):.3f}"]
    for score in ("bits_per_dim", "typicality", "input_complexity"):
        calibrated = scores.calibrate(flow, held_out, score)
        if score == "bits_per_dim":
            cells.append(f"{np.mean(calibrated.is_anomaly(test, RATE)):.2%}")
        cells.append(detection(calibrated, stranger))
    return f"| {digit} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--leave-out", nargs="+", type=int, choices=range(10), metavar="DIGIT")
    parser.add_argument("--epochs", type=int, default=5, help="of the models without a digit")
    parser.add_argument("--limit", type=int, metavar="N", help="test images, drawn at random; default all")
    options = parser.parse_args()
    if options.leave_out:
        print("| left out | bits/dim | false alarms | by likelihood | by typicality | by input complexity |")
        print("|---|---:|---:|---:|---:|---:|")
        for digit in options.leave_out:
            print(left_out(digit, options.epochs), flush=True)
        return
    root = packaged_folder("saved_models")
    print(
        "| entry | threshold of validation images | 95 % interval | of half the test images | 95 % interval |", end=""
    )
    print(" other set | blank | noise | rotated |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in options.names or sorted(path.name for path in root.iterdir() if store.versions(path)):
        print(row(name, options.limit), flush=True)


if __name__ == "__main__":
    main()
