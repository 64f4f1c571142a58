"""The layers of the code: a module imports from its own level or from below, never from above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.backend_free
ROOT = Path(__file__).resolve().parents[1]

# the longest prefix counts
LEVELS = {
    "tfflows": 5,  # what users import by name
    "tfflows._disk": 0,
    "tfflows._folders": 0,
    "tfflows.recipe": 0,
    "tfflows.layers.masks": 0,
    "tfflows._backend": 1,
    "tfflows.noise": 1,
    "tfflows.optimizers": 1,
    "tfflows.inputs": 1,
    "tfflows.nets": 1,
    "tfflows.nets_glow": 1,
    "tfflows.layers": 1,
    "tfflows.prior": 1,
    "tfflows.distribution": 2,
    "tfflows.check": 2,
    "tfflows.flow": 2,
    "tfflows.models": 3,
    "tfflows.datasets": 4,
    "tfflows.data": 4,
    "tfflows.store": 4,
    "tfflows.archive": 4,
    "tfflows.download": 4,
    "tfflows.cache": 4,
    "tfflows.warmup": 4,
    "tfflows.export": 4,
    "tfflows.visualize": 4,
    "tfflows.devices": 4,
    "tfflows.evaluate": 5,
    "tfflows.safety": 5,
    "tfflows.scores": 5,
    "tfflows.serving": 5,
    "tfflows.callbacks": 5,
    "tfflows.zoo": 5,
    "tfflows.train": 5,
    "tfflows.cli": 6,
    "tfflows.__main__": 6,
}
# what a module must do without, besides everything above its level
BANNED = {
    "tfflows.zoo": {"tfflows.train", "tfflows.data", "tfflows.datasets", "tensorflow_datasets"},
    "tfflows.layers": {"pathlib", "os", "tensorflow"},
    "tfflows.models": {"pathlib", "os", "tensorflow"},
    "tfflows.flow": {"pathlib", "os", "tensorflow"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "tfflows").rglob("*.py"))
    if path.parent.name != "templates"  # programs for users of a server, no part of the package
}


def imports(path, top_only=False):
    """Full names of the modules that a file imports, anywhere in it or when it is itself imported."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def within(module, package):
    return module == package or module.startswith(package + ".")


def level(module):
    prefixes = [known for known in LEVELS if known != "tfflows" and within(module, known)]
    if module == "tfflows":
        return LEVELS["tfflows"]
    assert prefixes, f"{module} has no level: give it one in LEVELS"
    return LEVELS[max(prefixes, key=len)]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    for imported in imports(MODULES[module]):
        if within(imported, "tfflows"):
            assert level(imported) <= level(module), f"{module} imports {imported}, which lies above it"
        for package, banned in BANNED.items():
            if within(module, package):
                assert not any(within(imported, name) for name in banned), f"{module} imports {imported}"


def test_recipes_need_the_standard_library_alone():
    assert {name.split(".")[0] for name in imports(MODULES["tfflows.recipe"])} <= sys.stdlib_module_names


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"tfflows.datasets.tfds_digits", "tfflows._backend"}))
def test_tensorflow_is_imported_where_it_is_needed(module):
    """Else a JAX host without TensorFlow could not import tfflows. (_backend asks Keras first.)"""
    top = {name.split(".")[0] for name in imports(MODULES[module], top_only=True)}
    assert not top & {"tensorflow", "tensorflow_datasets", "tensorflow_probability", "jax"}


def test_importing_tfflows_brings_neither_tfds_nor_the_command_line():
    """Runs in a process of its own, for what a fresh interpreter loads."""
    code = "import sys, tfflows; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(loaded.stdout.split()) & {"tensorflow_datasets", "tfflows.cli", "tfflows.train", "sklearn"}


def test_nothing_that_is_read_can_run_code():
    """No pickle: not by name, not through numpy's arrays of objects, not through the lambdas of `.keras` files."""
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        names = {name.split(".")[0] for name in imports(path)}
        assert not names & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}, module
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("enable_unsafe_deserialization", "Lambda"), module
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
                if ast.unparse(node.func) == "np.load":
                    assert given["allow_pickle"] is False, f"{module}, line {node.lineno}"
                if node.func.attr == "load_model":
                    assert given["safe_mode"] is True, f"{module}, line {node.lineno}"
