"""The examples, run small: each draws its picture and shows what it claims."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="draws the pictures; part of the extra `test`")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, folder, *arguments):
    """What the example's `main` returns, its picture written."""
    path = folder / f"{name}.png"
    figures = example(name).main([*arguments, "--output", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG")
    return figures


@pytest.mark.backend_free
def test_density_2d(tmp_path):
    """A normal of the data's covariance has a log-likelihood of -2.65."""
    for figures in run("density_2d", tmp_path, "--families", "glow", "maf", "--epochs", "6").values():
        assert figures["integral"] == pytest.approx(1, abs=1e-3)
        assert figures["log_likelihood"] > -2.4


def test_variational_inference(tmp_path):
    """No ELBO is above the evidence, and the flow's comes nearer to it than the best normal's."""
    figures = run("variational_inference", tmp_path, "--steps", "150")
    assert max(figures["Gaussian"], figures["planar flow"], figures["spline flow"]) < figures["evidence"] + 0.02
    assert figures["spline flow"] > figures["Gaussian"] + 0.3


@pytest.mark.backend_free
def test_vae_prior(tmp_path):
    figures = run("vae_prior", tmp_path, "--epochs", "8", "--seeds", "1")
    assert figures["RealNVP"] > figures["mixture"] > figures["standard normal"]
    assert figures["VampPrior with RealNVP"] > figures["VampPrior"]


@pytest.mark.backend_free
def test_manifolds(tmp_path):
    """KL(uniform || target) is 0.24 nats, where the flow starts: the logarithm of the Bessel function I0(1)."""
    figures = run("manifolds", tmp_path, "--targets", "correlated", "--steps", "150")["correlated"]
    assert 0 < figures["kl"] < 0.15
    assert figures["integral"] == pytest.approx(1, abs=1e-3)


def test_inpainting(tmp_path):
    figures = run("inpainting", tmp_path, "--epochs", "5")
    assert figures["conditional"] < figures["unconditional"]


@pytest.mark.backend_free
def test_interpolation(tmp_path):
    figures = run("interpolation", tmp_path, "--num", "5")
    assert figures["end_error"] == 0
    assert figures["path"] < figures["cross-fade"]


def test_the_readme_names_every_example():
    text = (EXAMPLES / "README.md").read_text("utf-8")
    assert all(f"python examples/{path.name}" in text for path in EXAMPLES.glob("*.py"))
