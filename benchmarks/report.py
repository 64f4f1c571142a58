"""Writes the tables of README.md from the JSON in results/.

python benchmarks/report.py
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
END = "<!-- end of table -->"


def result(name):
    return json.loads((FOLDER / "results" / f"{name}.json").read_text("utf-8"))


def rows():
    """(measure, figure by minima, by medians, goal): ratios of two sides that took turns, or seconds."""
    glow, startup = result("glow"), result("startup")

    def ratio(measure, one, other, goal):
        return measure, *(f"{one[how] / other[how]:.2f}" for how in ("min", "median")), goal

    def seconds(measure, one, goal):
        return measure, *(f"{one[how]:.1f} s" for how in ("min", "median")), goal

    for what, peer, goal in (
        ("step", "networks alone", "1.10"),
        ("step", "normflows", "0.70"),
        ("step", "tfb.Glow, gradient", "0.60"),
        ("log_prob", "normflows", "0.90"),
        ("sample", "normflows", "0.80"),
    ):
        yield ratio(f"{what} / {peer}", glow[what]["tfflows"], glow[what][peer], goal)
    first, imports = startup["first step"], startup["import"]
    yield seconds("first step, K = 8", first["K = 8"], "8 s")
    yield ratio("first step, K = 32 / K = 8", first["K = 32"], first["K = 8"], "4.2")
    yield seconds("first step, realnvp_celeba", first["realnvp_celeba"], "21 s")
    yield ratio("import / keras and tensorflow_probability", *reversed(imports.values()), "1.1")
    realnvp = result("realnvp")
    for what in ("step", "log_prob", "sample"):
        yield ratio(f"RealNVP: {what} / PyTorch", realnvp[what]["tfflows"], realnvp[what]["PyTorch"], "0.90")
    maf = result("maf")
    for what, peer, goal in (
        ("log_prob", "TensorFlow Probability", "0.65"),
        ("step", "TensorFlow Probability", "0.80"),
        ("step", "nflows", "0.80"),
    ):
        yield ratio(f"MAF: {what} / {peer}", maf[what]["tfflows"], maf[what][peer], goal)
    for what in ("log_prob", "step"):
        mixtures, affine = maf[what]["tfflows, mixtures"], maf[what]["tfflows"]
        yield ratio(f"MAF: {what}, mixtures / affine", mixtures, affine, "1.5")
    memory = result("memory_tensorflow")
    growth, runs = memory["growth, MB per flow step"], memory["memory in MB, time in s"]
    for what, measure in (("activations", "memory of activations"), ("process", "peak memory of the process")):
        ratio_of = f"{growth[what]['recomputed'] / growth[what]['stored']:.2f}"
        yield f"{measure}: growth per flow step, recomputed / stored", ratio_of, "", "0.15"
    steps = [
        {"min": runs[how]["K = 8"]["step"], "median": runs[how]["K = 8"]["median step"]}
        for how in ("recomputed", "stored")
    ]
    yield ratio("step, recomputed / stored, K = 8", *steps, "1.6")
    yield seconds('zoo.load("glow_mnist")', startup["zoo.load"]["glow_mnist"], "2 s")


def ratios():
    """The lines of the table of ratios."""
    yield from ("| measure | minima | medians | goal, at most |", "|---|---|---|---|")
    yield from (f"| {' | '.join(row)} |" for row in rows())


def what_pays(name):
    """The lines of a table of what_pays.py, the best first."""
    yield from ("| variant | bits/dim | weights | steps | images per second |", "|---|---:|---:|---:|---:|")
    variants = result(name)["variants"].items()
    for name, row in sorted(variants, key=lambda each: each[1]["bits_per_dim"]):
        figures = (f"{row[each]:,}" for each in ("weights", "steps", "images per second"))
        yield f"| {name} | {row['bits_per_dim']:.3f} | {' | '.join(figures)} |"


def with_table(text):
    """README's text with the lines between each mark and the end of its table made anew."""
    tables = {"<!-- table -->\n": ratios()}
    for name in ("what_pays", "what_pays_networks"):
        tables[f"<!-- table of {name}.json -->\n"] = what_pays(name)
    for mark, lines in tables.items():
        head, rest = text.split(mark)
        text = head + mark + "\n".join(lines) + "\n" + END + rest.split(END, 1)[1]
    return text


if __name__ == "__main__":
    readme = FOLDER / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")
