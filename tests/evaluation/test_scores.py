"""Anomaly scores: what each is in terms of the flow's own bits/dim, and what they tell apart."""

import io
import math
import zlib

import numpy as np
import pytest
from PIL import Image

from tfflows import data, zoo
from tfflows.evaluation import scores


@pytest.fixture(scope="module")
def flow():
    return zoo.load("realnvp_digits")


@pytest.fixture(scope="module")
def images():
    return data.arrays(zoo.recipe("realnvp_digits").data, "test")["image"][:100]


def test_scores_are_what_they_are_defined_as(flow, images):
    bits = flow.bits_per_dim(images, seed=3)
    np.testing.assert_array_equal(scores.bits_per_dim(flow, images, seed=3), bits)
    np.testing.assert_allclose(scores.typicality(flow, images, 2.0, seed=3), np.abs(bits - 2.0))
    assert scores.typicality(flow, images, bits[0], seed=3)[0] == 0

    def png(image):
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "png", optimize=True)
        return file.getbuffer()

    for coder, encode in {"png": png, "zlib": lambda image: zlib.compress(image, 9)}.items():
        lengths = [8 * len(encode(np.ascontiguousarray(image))) / 64 for image in images]
        np.testing.assert_allclose(scores.input_complexity(flow, images, coder=coder, seed=3), bits - lengths)


def test_a_conditional_flow_without_labels_is_the_mixture_of_its_classes(images):
    flow = zoo.load("maf_digits_conditional")
    labels = np.full(5, 7)
    given = scores.bits_per_dim(flow, {"image": images[:5], "label": labels})
    np.testing.assert_array_equal(given, flow.bits_per_dim(images[:5], labels))
    of_classes = np.array([flow.bits_per_dim(images[:5], np.full(5, k)) for k in range(10)], "float64")
    prob = np.exp2(-64 * of_classes).mean(axis=0)
    np.testing.assert_allclose(scores.bits_per_dim(flow, images[:5]), -np.log2(prob) / 64, rtol=1e-6)


@pytest.mark.backend_free
def test_simple_images_pass_for_digits_by_likelihood_and_not_by_the_other_scores(flow, images):
    noise = np.random.RandomState(0).randint(0, 17, images.shape)
    assert scores.auroc(scores.bits_per_dim(flow, images), scores.bits_per_dim(flow, noise)) == 1
    blank = np.zeros((50, 8, 8, 1), int)  # the failure that the module's docstring tells of
    by = {
        "likelihood": lambda images: scores.bits_per_dim(flow, images),
        "complexity": lambda images: scores.input_complexity(flow, images),
    }
    of = {name: scores.auroc(score(images), score(blank)) for name, score in by.items()}
    assert of["likelihood"] < 0.7 < 0.95 < of["complexity"], of


def test_auroc_counts_pairs_in_order_and_half_of_the_ties():
    assert scores.auroc([0, 1, 2, 3], [2, 5]) == (2 + 0.5 + 4) / 8
    assert scores.auroc([1, 1], [1]) == 0.5


def test_what_is_no_image_and_no_number_is_refused(flow, images):
    with pytest.raises(ValueError, match="coder is 'jpeg'"):
        scores.code_length(images, "jpeg")
    for wrong in (images[0], np.full((1, 8, 8, 1), 256), np.full((1, 8, 8, 1), -1), images + 0.5):
        with pytest.raises(ValueError, match="takes integers"):
            scores.code_length(wrong)
    with pytest.raises(ValueError, match="expected a number"):
        scores.typicality(flow, images, np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="expected a number"):
        scores.typicality(flow, images, math.nan)
