"""SavedModels in memory: their versions, their signatures, and inputs that are checked before TensorFlow sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from grpc import StatusCode

from tfflows.errors import NotFoundError
from tfflows.export import warmup
from tfflows.zoo import store

if TYPE_CHECKING:
    import tensorflow as tf

Declared = Mapping[str, tuple[Any, tuple[int, ...]]]  # {input name: (dtype, shape)}

DEFAULT_SIGNATURE = "serving_default"


class ServingError(Exception):
    """A request that is refused: a gRPC status code and one sentence."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Version:
    """One version folder. `state` goes from LOADING to AVAILABLE, or to END with `error`, the reason.

    Args:
        model: the name of the model.
        folder: `<name>/<number>`.
    """

    def __init__(self, model: str, folder: Path) -> None:
        self.model, self.folder, self.number = model, folder, int(folder.name)
        self.state, self.error, self._files = "LOADING", "", _files(folder)

    def load(self) -> None:
        """Verifies the folder, loads the SavedModel and replays its warm-up requests."""
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        try:
            store.verify(self.folder)
            path = self.folder / "saved_model.pb"
            if not path.is_file():
                raise NotFoundError(
                    f"{self.folder} has no SavedModel: write one with `tfflows export {self.model} DIR`, and serve it "
                    f"with `TFFLOWS_HOME=DIR tfflows serve {self.model}`"
                )
            saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
            self.signature_defs = dict(saved.meta_graphs[0].signature_def)
            self._loaded = tf.saved_model.load(str(self.folder))  # owns the weights that the signatures read
            self._functions = dict(self._loaded.signatures)
            for request in _warmup_requests(self.folder / warmup.PATH):
                signature = request.model_spec.signature_name
                self.predict(signature, from_proto(self, signature, request.inputs, max_batch=64))
        except Exception as error:  # a version that cannot be loaded must not stop the others
            self.state, self.error = "END", str(error)
        else:
            self.state = "AVAILABLE"

    def may_load_now(self) -> bool:
        """Returns whether loading failed and the files have changed since, as those of a copy in progress do."""
        return self.state == "END" and _files(self.folder) != self._files

    def specs(self, signature: str = "") -> dict[str, tf.TensorSpec]:
        """Returns the inputs of a signature."""
        return self._function(signature).structured_input_signature[1]

    def check(self, signature: str, given: Declared, max_batch: int) -> None:
        """Raises ServingError for inputs that the signature does not take, or of more than `max_batch` rows."""
        specs = self.specs(signature)
        if given.keys() != specs.keys():
            raise _invalid(
                f"signature {signature or DEFAULT_SIGNATURE!r} takes the inputs {_list(specs)} and got {_list(given)}"
            )
        for name, (dtype, shape) in given.items():
            spec = specs[name]
            if dtype != spec.dtype.as_numpy_dtype:
                raise _invalid(f"input {name!r} is {np.dtype(dtype)}, expected {spec.dtype.name}")
            if len(shape) != spec.shape.rank or min(shape) < 0 or not spec.shape.is_compatible_with(shape):
                expected = ", ".join("batch" if size is None else str(size) for size in spec.shape)
                raise _invalid(f"input {name!r} has shape {list(shape)}, expected [{expected}]")
            if shape[0] == 0:
                raise _invalid(f"input {name!r} has no rows: send at least one")
            if shape[0] > max_batch:
                raise _invalid(f"the batch has {shape[0]} rows, at most {max_batch} are taken: split the request")
        if len(sizes := {shape[0] for _, shape in given.values()}) > 1:
            raise _invalid(f"the inputs have {' and '.join(map(str, sorted(sizes)))} rows: give all the same number")

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name; "" is the default one.
            inputs: arrays that `check` has accepted.
            outputs: the names of those to return; by default all.
        """
        import tensorflow as tf

        function = self._function(signature)
        if unknown := set(outputs) - set(function.structured_outputs):
            raise _invalid(f"no output is called {_list(unknown)}: there is {_list(function.structured_outputs)}")
        results = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in results.items() if name in outputs or not outputs}

    def _function(self, signature: str) -> Any:
        try:
            return self._functions[signature or DEFAULT_SIGNATURE]
        except KeyError:
            raise _invalid(f"there is no signature {signature!r}: {self.model} has {_list(self._functions)}") from None


class Engine:
    """All models and versions below some folders; the highest version is the default, as in TensorFlow Serving.

    Args:
        folders: {name: the folder of its version folders}.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._versions: dict[str, dict[int, Version]] = {name: {} for name in folders}

    def refresh(self) -> None:
        """Loads versions that have appeared or been repaired, and forgets those that have gone.

        One thread may call it while any number of others read.
        """
        for name, folder in self._folders.items():
            numbers = store.versions(folder)
            for number in numbers:
                known = self._versions[name].get(number)
                if known is None or known.may_load_now():
                    version = Version(name, folder / str(number))
                    self._versions[name] = {**self._versions[name], number: version}
                    version.load()
            self._versions[name] = {number: self._versions[name][number] for number in numbers}

    def names(self) -> list[str]:
        """Returns the sorted names of the models."""
        return sorted(self._versions)

    def versions(self, name: str, number: int | None = None) -> list[Version]:
        """Returns the versions of a model in any state, newest first; NOT_FOUND for an unknown model or number."""
        if name not in self._versions:
            raise ServingError(
                StatusCode.NOT_FOUND, f"no model {name!r} is served here: there is {_list(self.names())}"
            )
        found = self._versions[name]
        if number is not None and number not in found:
            raise ServingError(StatusCode.NOT_FOUND, f"{name} has no version {number}: there is {_list(found)}")
        return sorted((v for v in found.values() if number in (None, v.number)), key=lambda v: -v.number)

    def find(self, name: str, number: int | None = None) -> Version:
        """Returns the version of this number, or the highest that is available; else raises UNAVAILABLE."""
        versions = self.versions(name, number)
        for version in versions:
            if version.state == "AVAILABLE":
                return version
        why = f": {versions[0].error}" if versions and versions[0].error else ""
        raise ServingError(StatusCode.UNAVAILABLE, f"no version of {name} that was asked for is available{why}")


def from_proto(version: Version, signature: str, tensors: Mapping[str, Any], max_batch: int) -> dict[str, np.ndarray]:
    """Returns arrays from TensorProtos, whose declared shapes are checked before anything of that size is made."""
    import tensorflow as tf

    try:
        declared = {
            name: (tf.as_dtype(t.dtype).as_numpy_dtype, tuple(d.size for d in t.tensor_shape.dim))
            for name, t in tensors.items()
        }
    except TypeError as error:
        raise _invalid(f"an input has a dtype that TensorFlow does not know: {error}") from None
    version.check(signature, declared, max_batch)
    arrays = {}
    for name, tensor in tensors.items():
        dtype, shape = declared[name]
        try:
            arrays[name] = tf.make_ndarray(tensor)
        except (ValueError, TypeError, IndexError):
            count = math.prod(shape)
            raise _invalid(f"input {name!r} does not hold the {count} {np.dtype(dtype)} values of its shape") from None
    return arrays


def from_json(version: Version, signature: str, values: Mapping[str, Any], max_batch: int) -> dict[str, np.ndarray]:
    """Returns arrays from nested lists of numbers, in the dtypes of the signature."""
    arrays = {}
    for name, spec in version.specs(signature).items():
        if name in values:
            arrays[name] = _array(name, values[name], spec.dtype.as_numpy_dtype)
    declared = {name: (arrays[name].dtype, arrays[name].shape) if name in arrays else (None, ()) for name in values}
    version.check(signature, declared, max_batch)
    return arrays


def _files(folder: Path) -> set[tuple[str, int, int]]:
    """Returns path, size and time of every file, by which changes are noticed."""
    paths = [(str(path), path.stat()) for path in folder.rglob("*")]
    return {(path, stat.st_size, stat.st_mtime_ns) for path, stat in paths}


def _warmup_requests(path: Path) -> Iterator[Any]:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    if path.is_file():
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield PredictionLog.FromString(record).predict_log.request


def _array(name: str, values: Any, dtype: Any) -> np.ndarray:
    try:
        array = np.array(values)
    except ValueError:
        raise _invalid(f"input {name!r} is not an array: its rows have different lengths or depths") from None
    if array.size and array.dtype.kind not in ("iu" if np.dtype(dtype).kind in "iu" else "iuf"):
        raise _invalid(f"input {name!r} holds values that are not {np.dtype(dtype)}: give numbers of that type")
    if array.size and np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        if array.min() < info.min or array.max() > info.max:
            raise _invalid(
                f"input {name!r} has values from {array.min()} to {array.max()}: {info.dtype} holds "
                f"{info.min} to {info.max}"
            )
    return array.astype(dtype)


def _invalid(message: str) -> ServingError:
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def _list(items: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(items))) or "none"
