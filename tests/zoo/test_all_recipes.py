"""Every recipe of the zoo builds at its real shape, to a pinned number of trainable parameters."""

import math

import keras
import pytest

from tfflows import zoo
from tfflows.zoo.folders import packaged_folder

pytestmark = pytest.mark.backend_free
# From the architecture alone: a change here is a change of the model, and makes stored weights of it unreadable.
PARAMETERS = {
    "glow_celeba": 74_058_384,
    "glow_celeba_hq256": 168_786_576,
    "glow_cifar10": 44_052_816,
    "glow_cifar10_spline": 11_833_038,
    "glow_digits": 153_713,
    "glow_digits_spline": 427_433,
    "glow_fashion_mnist": 476_672,
    "glow_fashion_mnist_spline": 274_228,
    "glow_imagenet32": 66_077_520,
    "glow_imagenet64": 111_080_592,
    "glow_imagenet64_spline": 15_552_114,
    "glow_lsun_bedroom": 66_077_520,
    "glow_mnist": 476_672,
    "glow_mnist_mixture": 275_704,
    "glow_mnist_spline": 274_228,
    "glow_svhn": 44_052_816,
    "maf_cifar10": 105_000_960,
    "maf_cifar10_conditional": 105_103_360,
    "maf_cifar10_conditional_mog": 151_222_272,
    "maf_cifar10_mog": 151_160_832,
    "maf_conv_digits": 85_999,
    "maf_conv_fashion_mnist": 213_999,
    "maf_conv_mnist": 213_999,
    "maf_digits": 1_383_680,
    "maf_digits_conditional": 1_390_272,
    "maf_fashion_mnist": 7_553_344,
    "maf_mnist": 7_553_344,
    "maf_mnist_conditional": 7_578_944,
    "maf_mnist_conditional_mog": 43_333_920,
    "maf_mnist_mog": 8_368_688,
    "nice_cifar10": 72_617_216,
    "nice_digits": 33_472,
    "nice_fashion_mnist": 19_158_352,
    "nice_mnist": 4_762_160,
    "nice_svhn": 72_617_216,
    "realnvp_celeba": 56_708_863,
    "realnvp_cifar10": 11_429_401,
    "realnvp_digits": 228_980,
    "realnvp_fashion_mnist": 462_337,
    "realnvp_imagenet32": 27_015_895,
    "realnvp_imagenet64": 56_708_863,
    "realnvp_lsun_bedroom": 56_708_863,
    "realnvp_mnist": 857_889,
    "realnvp_mnist_vardeq": 488_781,
    "realnvp_svhn": 11_429_401,
}


def test_every_recipe_is_pinned():
    assert sorted(PARAMETERS) == sorted(path.stem for path in packaged_folder("zoo").glob("*.toml"))


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_builds_at_its_real_shape(name):
    # The variables have shapes and no values here: the largest models would not fit into memory several times.
    with keras.StatelessScope(initialize_variables=False):
        flow = zoo.build(name)
    assert sum(math.prod(weight.shape) for weight in flow.trainable_weights) == PARAMETERS[name]
