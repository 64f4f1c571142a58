"""Runs a SavedModel by TensorFlow's C API alone: the loader that TensorFlow Serving is built on.

    python c_api_client.py LIBRARY FOLDER INPUTS.npz OUTPUTS.npz NAME...

INPUTS holds an array for each tensor to feed, under the name that the signature gives it; NAMEs are the tensors to
fetch. The process imports no TensorFlow.
"""

import sys
from ctypes import CDLL, POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p, memmove
from ctypes import string_at as bytes_at

import numpy as np

DTYPES = {1: np.float32, 3: np.int32, 4: np.uint8}  # TF_DataType


class Output(Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


def main(library, folder, inputs, outputs, *names):
    tf = CDLL(library)
    for function in (tf.TF_NewStatus, tf.TF_NewGraph, tf.TF_NewSessionOptions, tf.TF_LoadSessionFromSavedModel):
        function.restype = c_void_p
    for function in (tf.TF_GraphOperationByName, tf.TF_AllocateTensor, tf.TF_TensorData):
        function.restype = c_void_p
    tf.TF_Message.restype, tf.TF_Dim.restype, tf.TF_TensorByteSize.restype = c_char_p, c_int64, c_size_t
    tf.TF_AllocateTensor.argtypes = (c_int, POINTER(c_int64), c_int, c_size_t)
    tf.TF_SessionRun.argtypes = (
        *(c_void_p, c_void_p),  # session, run options
        *(c_void_p, c_void_p, c_int),  # feeds
        *(c_void_p, c_void_p, c_int),  # fetches
        *(c_void_p, c_int, c_void_p, c_void_p),  # targets, metadata, status
    )
    status, graph, options = (c_void_p(f()) for f in (tf.TF_NewStatus, tf.TF_NewGraph, tf.TF_NewSessionOptions))

    def check():
        if tf.TF_GetCode(status):
            sys.exit(tf.TF_Message(status).decode())

    tags = (c_char_p * 1)(b"serve")
    session = tf.TF_LoadSessionFromSavedModel(options, None, folder.encode(), tags, 1, graph, None, status)
    check()

    def output(name):
        operation, index = name.split(":")
        found = tf.TF_GraphOperationByName(graph, operation.encode())
        return Output(found, int(index)) if found else sys.exit(f"the graph has no {operation}")

    with np.load(inputs) as arrays:
        feeds = (Output * len(arrays))(*map(output, arrays))
        values = (c_void_p * len(arrays))(*(to_tensor(tf, array) for array in arrays.values()))
    fetches, results = (Output * len(names))(*map(output, names)), (c_void_p * len(names))()
    counts = len(feeds), len(fetches)
    tf.TF_SessionRun(
        c_void_p(session), None, feeds, values, counts[0], fetches, results, counts[1], None, 0, None, status
    )
    check()
    np.savez(outputs, **{name: to_array(tf, c_void_p(result)) for name, result in zip(names, results, strict=True)})
    assert not [name for name in sys.modules if name.startswith("tensorflow")]


def to_tensor(tf, array):
    (code,) = (code for code, dtype in DTYPES.items() if array.dtype == dtype)
    tensor = tf.TF_AllocateTensor(code, (c_int64 * array.ndim)(*array.shape), array.ndim, array.nbytes)
    memmove(tf.TF_TensorData(c_void_p(tensor)), np.ascontiguousarray(array).ctypes.data, array.nbytes)
    return tensor


def to_array(tf, tensor):
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    data = bytes_at(tf.TF_TensorData(tensor), tf.TF_TensorByteSize(tensor))
    return np.frombuffer(data, DTYPES[tf.TF_TensorType(tensor)]).reshape(shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
