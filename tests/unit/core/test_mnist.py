"""Where MNIST is looked for."""

from pathlib import Path

import numpy as np

from services.core import mnist


def test_a_file_is_named_by_a_variable_that_is_not_empty():
    assert mnist.named({"CLEARDIGITS_MNIST": "/data/mnist.npz"}) == Path("/data/mnist.npz")
    assert mnist.named({"CLEARDIGITS_MNIST": ""}) is None
    assert mnist.named({}) is None


def test_kerass_cache_is_where_keras_is_told_to_keep_it():
    assert mnist.cached({"KERAS_HOME": "/keras"}) == Path("/keras/datasets/mnist.npz")
    assert mnist.cached({}) == Path.home() / ".keras/datasets/mnist.npz"


def test_a_hash_is_of_the_values_whatever_file_they_came_in():
    assert mnist.sha256(np.zeros(3, np.uint8)) == mnist.sha256(np.zeros((3, 1), np.uint8))
    assert mnist.sha256(np.zeros(3, np.uint8)) != mnist.sha256(np.ones(3, np.uint8))
