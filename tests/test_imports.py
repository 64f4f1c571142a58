"""The structure of the code: a folder imports from itself or from below, never from above; files are short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.backend_free
ROOT = Path(__file__).resolve().parents[1]

# From the bottom: a folder (or a module beside the folders) imports those before it, and itself.
ORDER = (
    "tfflows.errors",
    "tfflows.zoo.hints",
    "tfflows.plots",
    "tfflows._backend",
    "tfflows.transformers",
    "tfflows.nets",
    "tfflows.layers",
    "tfflows.dequantizers",
    "tfflows.flow",
    "tfflows.models",
    "tfflows.zoo",
    "tfflows.data",
    "tfflows.evaluation",
    "tfflows.export",
    "tfflows.training",
    "tfflows.serving",
    "tfflows.cli",
    "tfflows.__main__",
)
# what a module must do without, besides everything above it
BANNED = {
    "tfflows.layers": {"tfflows.nets", "pathlib", "os", "tensorflow"},
    "tfflows.models": {"pathlib", "os", "tensorflow"},
    "tfflows.flow.flow": {"pathlib", "os", "tensorflow"},
    "tfflows.zoo": {"tensorflow_datasets"},
    "tfflows.zoo.builder": {"tfflows.zoo.store", "tfflows.zoo.folders"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "tfflows").rglob("*.py"))
    if path.parent.name != "templates"  # programs for users of a server, no part of the package
}


# imports TensorFlow where Keras runs on it; read by tfds alone
ALONE_ON_TENSORFLOW = {"tfflows._backend", "tfflows._backend.autodiff", "tfflows.data.tfds_digits"}


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


def folder(module):
    """The entry of ORDER that a module belongs to; None for the package itself."""
    if module == "tfflows":
        return None
    found = [name for name in ORDER if within(module, name)]
    assert found, f"{module} has no place: give it one in ORDER"
    return found[0]


def faults(module, imported):
    """The sentences that say which of `imported` a module must not import."""
    for name in imported:
        if within(name, "tfflows") and module != "tfflows":
            if name == "tfflows":
                yield f"{module} imports the package itself"
            elif ORDER.index(folder(name)) > ORDER.index(folder(module)):
                yield f"{module} imports {name}, which lies above it"
        for package, banned in BANNED.items():
            if within(module, package) and any(within(name, each) for each in banned):
                yield f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    assert list(faults(module, imports(MODULES[module]))) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("tfflows.layers.coupling", "tfflows.flow.flow"),
        ("tfflows.layers.coupling", "tfflows.nets"),
        ("tfflows.zoo", "tfflows.data.pipeline"),
    ],
)
def test_the_check_of_imports_finds_a_planted_fault(module, imported):
    assert list(faults(module, [imported]))


def test_the_package_has_few_rooms_and_short_files():
    entries = {path.name for path in (ROOT / "tfflows").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert len(entries - {"__init__.py", "__main__.py", "__pycache__"}) <= 16
    assert [module for module, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > 300] == []


def test_recipes_need_the_standard_library_alone():
    assert {name.split(".")[0] for name in imports(MODULES["tfflows.zoo.recipe"])} <= {
        *sys.stdlib_module_names,
        "tfflows",
    }


@pytest.mark.parametrize("module", sorted(set(MODULES) - ALONE_ON_TENSORFLOW))
def test_tensorflow_is_imported_where_it_is_needed(module):
    """Else a JAX host without TensorFlow could not import tfflows. (_backend asks Keras first.)"""
    top = {name.split(".")[0] for name in imports(MODULES[module], top_only=True)}
    assert not top & {"tensorflow", "tensorflow_datasets", "tensorflow_probability", "jax"}


def test_importing_tfflows_brings_neither_tfds_nor_the_command_line():
    """Runs in a process of its own, for what a fresh interpreter loads."""
    code = "import sys, tfflows; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(loaded.stdout.split()) & {"tensorflow_datasets", "tfflows.cli", "tfflows.training"}


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
