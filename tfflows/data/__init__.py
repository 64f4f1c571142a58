"""Images for training and evaluation: from TensorFlow Datasets, the user's own files, or scikit-learn's digits.

pipeline   splits as arrays, and batches for training and evaluation
split      a split whose images are taken by index, from memory or from disk
stream     batches as functions of their index, and the processes that compute them ahead
adapters   batches as Keras takes them
catalog    the data sets of TensorFlow Datasets
digits     scikit-learn's handwritten digits
files      the user's own images: a folder
npz        or an .npz file
inventory  what such a folder or file holds
proposal   a recipe for it
prepare    crop, resize, fewer grey values
"""

from tfflows.data.inventory import Inventory, take_inventory
from tfflows.data.pipeline import SPLITS, arrays, batches, read_all, training_batches, version
from tfflows.data.proposal import propose

__all__ = [
    "SPLITS",
    "Inventory",
    "arrays",
    "batches",
    "propose",
    "read_all",
    "take_inventory",
    "training_batches",
    "version",
]
