"""Test bits/dim: the draws are those of `Flow.bits_per_dim`, whatever the images come in."""

import numpy as np
import pytest

from tfflows import data, zoo
from tfflows.evaluation import evaluate
from tfflows.zoo.recipe import EvaluationConfig

PROTOCOL = EvaluationConfig(num_draws=3, num_importance_samples=2, seed=4)


@pytest.mark.parametrize("name", ["nice_digits", "maf_digits_conditional"])
def test_one_pass_gives_the_means_of_all_draws(name, capsys):
    flow, recipe = zoo.load(name), zoo.recipe(name)
    images = data.arrays(recipe.data, "test", 50)
    found = evaluate(flow, images, PROTOCOL, batch_size=20)
    draws = [flow.bits_per_dim(images, seed=seed, batch_size=20).mean() for seed in (4, 5, 6)]
    assert found["draws"] == draws
    assert found["bits_per_dim"] == np.mean(draws)
    assert found["importance_bits_per_dim"] == flow.bits_per_dim(images, num_samples=2, seed=7, batch_size=20).mean()
    assert found["num_images"] == 50
    assert evaluate(flow, data.batches(recipe.data, "test", 20, 50), PROTOCOL) == found
    assert capsys.readouterr().out == ""
    evaluate(flow, images, PROTOCOL, batch_size=20, verbose=1)
    assert "3/3" in capsys.readouterr().out
