"""Measures how much the samples of shipped models look like the test images, by a small classifier's features.

python tools/sample_quality.py NAME [NAME ...] [--samples 10000] [--classifiers FOLDER]

A convolutional network is trained on the data set's training images and labels (once for each data set; FOLDER keeps
it, by default a temporary one), and its accuracy on the test images measured. The figures of a model are the Fréchet
distance between the features of its samples and of all test images, at temperature 1 and 0.7, and the share of the
samples that the network is sure of, by a probability of at least 0.95. The same for training images is the floor.
Distances grow where there are fewer images, and features have no unit: compare models of one data set, with the same
number of samples. Writes `sample_quality` into saved_models/<name>/measured.json; tools/model_cards.py shows it.

The distance is that of Heusel et al. 2017, arXiv 1706.08500, with other features.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from tfflows import data, zoo
from tfflows.zoo import store

SAVED_MODELS = Path(__file__).resolve().parents[1] / "saved_models"
TEMPERATURES = (1.0, 0.7)
SURE = 0.95
FEATURES = 32
EPOCHS = {"digits": 60, "mnist": 4, "fashion_mnist": 8}
BATCH = 250  # of samples that are drawn at once


def with_labels(recipe, split):
    """A split of a recipe's data with labels, without flips."""
    return data.arrays(dataclasses.replace(recipe.data, num_classes=10, flip=False), split)


def frechet_distance(a, b):
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of the means and covariances of features [N, F]."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    between = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * between)


def network(shape, num_values):
    """A network that gives features [B, FEATURES] and the logits of ten classes."""
    image = keras.Input(shape)
    h = layers.Rescaling(1.0 / (num_values - 1))(image)
    for filters in (16, 32):
        h = layers.Conv2D(filters, 3, activation="relu", padding="same")(h)
        h = layers.MaxPooling2D(2, padding="same")(h)
    features = layers.Dense(FEATURES)(layers.Dropout(0.3)(layers.Flatten()(h)))
    return keras.Model(image, [features, layers.Dense(10)(layers.ReLU()(features))])


class Classifier:
    """The network of a data set, trained or read from a folder."""

    def __init__(self, recipe, folder):
        dataset = recipe.data.dataset
        path = folder / f"{dataset}.weights.h5"
        keras.utils.set_random_seed(0)
        self.network = network(recipe.data.shape, recipe.data.num_values)
        if path.exists():
            self.network.load_weights(path)
        else:
            self._train(with_labels(recipe, "train"), EPOCHS[dataset])
            self.network.save_weights(path)
        test = with_labels(recipe, "test")
        features, logits = self.network.predict(test["image"], batch_size=500, verbose=0)
        self.accuracy = float(np.mean(logits.argmax(axis=-1) == test["label"]))
        self.test, self.sure_of_test = features.astype("float64"), sure(logits)
        training = with_labels(recipe, "train")["image"][:10_000]
        self.training = {"count": len(training), **self.compare(training)}

    def _train(self, train, epochs):
        model = keras.Model(self.network.inputs, self.network.outputs[1])
        rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (len(train["image"]) // 64 + 1))
        model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(train["image"], train["label"], batch_size=64, epochs=epochs, verbose=2)

    def compare(self, images):
        """The Fréchet distance of images to the test images, and the share that the network is sure of."""
        features, logits = self.network.predict(images, batch_size=500, verbose=0)
        return {"frechet": frechet_distance(features.astype("float64"), self.test), "sure": sure(logits)}


def sure(logits):
    """The share of images whose likeliest class has a probability of at least SURE."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return float(np.mean(1.0 / p.sum(axis=-1) >= SURE))


def draw(flow, count, temperature):
    """Samples, of a conditional flow with the labels in turn."""
    parts = []
    for start in range(0, count, BATCH):
        number = min(BATCH, count - start)
        labels = None if flow.num_classes is None else np.arange(number) % flow.num_classes
        parts.append(flow.sample(number, temperature=temperature, seed=start, condition=labels))
    return np.concatenate(parts)


def measure(name, count, folder):
    """Write the figures of the newest version of a model, and return them."""
    path = SAVED_MODELS / name / "measured.json"
    measured = json.loads(path.read_text())
    recipe, flow = zoo.recipe(name), zoo.load(name, store.versions(path.parent)[-1])
    classifier = Classifier(recipe, folder)
    samples = {f"T = {t:g}": classifier.compare(draw(flow, count, t)) for t in TEMPERATURES}
    measured["sample_quality"] = {
        "num_samples": count,
        "num_test_images": len(classifier.test),
        "accuracy": classifier.accuracy,
        "sure_of_test": classifier.sure_of_test,
        "samples": samples,
        "training_images": classifier.training,
    }
    path.write_text(json.dumps(measured, indent=1) + "\n")
    return measured["sample_quality"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--classifiers", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        classifiers = options.classifiers or Path(temporary)
        classifiers.mkdir(parents=True, exist_ok=True)
        for each in options.names:
            print(each, json.dumps(measure(each, options.samples, classifiers)), flush=True)
