"""TensorFlow's operations that tf2onnx does not convert, or not well, written in operators of ONNX.

Each handler gets the graph that is being converted and a node of TensorFlow, and replaces the node. Values are float32,
whose rounding errors the approximations here do not exceed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np

# Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", PPND7: numerators and denominators
# near the median, in the tails, and in the far tails. Constant terms come last.
CENTRAL = (59.10937472, 159.29113202, 50.434271938, 3.3871327179), (67.1875636, 78.757757664, 17.895169469, 1.0)
TAIL = (0.17023821103, 1.3067284816, 2.75681539, 1.4234372777), (0.12021132975, 0.7370016425, 1.0)
FAR_TAIL = (0.017337203997, 0.42868294337, 3.081226386, 6.657905115), (0.012258202635, 0.24197894225, 1.0)
# Press, Teukolsky, Vetterling and Flannery, "Numerical recipes", section 6.2: erfc(x) = t exp(-x^2 + poly(t)), with
# t = 1 / (1 + x / 2), to a relative error of 1.2e-7 for every x >= 0.
ERFC = (
    *(0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807),
    *(-0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223),
)


class _Value:
    """An output in an ONNX graph under construction, on which Python's operators add nodes."""

    def __init__(self, graph: Any, name: str) -> None:
        self.graph, self.name = graph, name

    def apply(self, operator: str, *operands: Union["_Value", float, np.ndarray], **attributes: Any) -> "_Value":
        """Returns the value of an operator of ONNX; numbers become constants."""
        inputs = [self.name, *(each.name if isinstance(each, _Value) else self._constant(each) for each in operands)]
        return _Value(self.graph, self.graph.make_node(operator, inputs, attr=attributes).output[0])

    def _constant(self, value: float | np.ndarray) -> str:
        array = np.asarray(value if isinstance(value, np.ndarray) else np.float32(value))
        # One node for each number: a mixture's thousands of equal ones would take most of the time of a conversion.
        name = f"tfflows_{array.dtype}_{array.tolist()}"
        node = self.graph.get_node_by_name(name)
        return (node or self.graph.make_const(name, array)).output[0]

    def __add__(self, other: Union["_Value", float]) -> "_Value":
        return self.apply("Add", other)

    def __sub__(self, other: Union["_Value", float]) -> "_Value":
        return self.apply("Sub", other)

    def __mul__(self, other: Union["_Value", float]) -> "_Value":
        return self.apply("Mul", other)

    def __truediv__(self, other: Union["_Value", float]) -> "_Value":
        return self.apply("Div", other)

    def __neg__(self) -> "_Value":
        return self.apply("Neg")

    def __lt__(self, other: Union["_Value", float]) -> "_Value":
        return self.apply("Less", other)

    def where(self, yes: "_Value", no: "_Value") -> "_Value":
        """Returns `yes` where this value, of booleans, is true, else `no`."""
        return self.apply("Where", yes, no)

    def polynomial(self, coefficients: Sequence[float]) -> "_Value":
        """Returns a polynomial of this value by Horner's rule, constant term last."""
        result = self * coefficients[0] + coefficients[1]
        for coefficient in coefficients[2:]:
            result = result * self + coefficient
        return result

    def rational(self, coefficients: tuple[Sequence[float], Sequence[float]]) -> "_Value":
        """Returns the quotient of two polynomials."""
        numerator, denominator = coefficients
        return self.polynomial(numerator) / self.polynomial(denominator)


def log1p(x: _Value) -> _Value:
    """Returns log(1 + x), for small x without the rounding error of the sum (Kahan)."""
    total = x + 1.0
    rounded = total - 1.0
    small = total.apply("Log") * x / rounded
    exact = rounded.apply("Equal", 0.0).where(x, small)
    return (x.apply("Abs") < 0.5).where(exact, total.apply("Log"))


def expm1(x: _Value) -> _Value:
    """Returns exp(x) - 1, for small x without the rounding error of the difference (Kahan)."""
    power = x.apply("Exp")
    difference = power - 1.0
    small = difference * x / power.apply("Log")
    exact = difference.apply("Equal", 0.0).where(x, small)
    return (x.apply("Abs") < 0.5).where(exact, difference)


def erfc(x: _Value) -> _Value:
    """Returns 1 - erf(x), whose small values keep their digits."""
    size = x.apply("Abs")
    t = ((size * 0.5) + 1.0).apply("Reciprocal")
    upper = t * (t.polynomial(ERFC) - size * size).apply("Exp")
    return (x < 0.0).where(-upper + 2.0, upper)


def ndtri(p: _Value) -> _Value:
    """Returns the quantile function of the standard normal distribution."""
    q = p - 0.5
    central = q * (-(q * q) + 0.180625).rational(CENTRAL)
    tail = p.apply("Min", -p + 1.0)
    r = (-(tail.apply("Log"))).apply("Sqrt")
    size = (r < 5.0).where((r - 1.6).rational(TAIL), (r - 5.0).rational(FAR_TAIL))
    outer = (q < 0.0).where(-size, size)
    return (q.apply("Abs") < 0.425).where(central, outer)


def _elementwise(function: Callable[[_Value], _Value]) -> Callable[[Any, Any, str, list], None]:
    def handle(graph: Any, node: Any, name: str, arguments: list) -> None:
        _replace(graph, node, function(_Value(graph, node.input[0])))

    return handle


def _broadcast_shapes(graph: Any, node: Any, name: str, arguments: list) -> None:
    """BroadcastArgs: the shape to which two shapes, int vectors of equal length, broadcast."""
    a, b = (_Value(graph, each) for each in node.input)
    one = np.ones((), np.int64 if graph.get_dtype(a.name) == _onnx().TensorProto.INT64 else np.int32)
    _replace(graph, node, a.apply("Equal", one).where(b, a))


def _upper_bound(graph: Any, node: Any, name: str, arguments: list) -> None:
    """UpperBound: how many of the sorted numbers in a row of [N, M] are at most each value of the row of [N, K]."""
    numbers, values = (_Value(graph, each) for each in node.input)
    reached = numbers.apply("Unsqueeze", np.array([1])).apply("LessOrEqual", values.apply("Unsqueeze", np.array([2])))
    counts = reached.apply("Cast", to=_onnx().TensorProto.INT64).apply("ReduceSum", np.array([2]), keepdims=0)
    _replace(graph, node, counts.apply("Cast", to=graph.get_dtype(node.output[0])))


def _gather(graph: Any, node: Any, name: str, arguments: list) -> None:
    """GatherV2: along the last axis with all others as batch, it is GatherElements; else tf2onnx's own conversion."""
    from tf2onnx.onnx_opset.tensor import GatherV2

    data, indices, _ = node.input
    rank = graph.get_rank(indices)
    batched = rank is not None and node.get_attr_value("batch_dims", 0) == rank - 1 > 0
    if not batched or node.inputs[2].get_tensor_value() not in (-1, rank - 1):
        GatherV2.version_12(graph, node)
        return
    _replace(graph, node, _Value(graph, data).apply("GatherElements", _Value(graph, indices), axis=rank - 1))


def give_kernels_a_rank(graph: Any, nodes: list) -> list:
    """Says of kernels within loops, whose shapes tf2onnx loses, that they have four dimensions; a "rewriter" for it."""
    for node in nodes:
        if node.type == "Conv2D" and graph.get_shape(node.input[1]) is None:
            graph.set_shape(node.input[1], [-1] * 4)
    return nodes


def _replace(graph: Any, node: Any, value: _Value) -> None:
    """Lets `value` take the place of the output of a node, with its shape and dtype."""
    output, name = node.output[0], node.name
    shape, dtype = graph.get_shape(output), graph.get_dtype(output)
    graph.remove_node(name)
    graph.make_node("Identity", [value.name], name=name, outputs=[output], shapes=[shape], dtypes=[dtype])


def _onnx() -> Any:
    import onnx

    return onnx


# As tf2onnx takes them: the function, and its further arguments.
HANDLERS = {
    "Log1p": (_elementwise(log1p), []),
    "Expm1": (_elementwise(expm1), []),
    "Erfc": (_elementwise(erfc), []),
    "Ndtri": (_elementwise(ndtri), []),
    "BroadcastArgs": (_broadcast_shapes, []),
    "UpperBound": (_upper_bound, []),
    "GatherV2": (_gather, []),
}
