"""Weights on the Hugging Face hub: a version folder of the store, with a card, as a repository of models.

    hf://ORG/NAME             the newest weights
    hf://ORG/NAME@REVISION    those of a tag (`push` tags version 2 as v2), a branch or a commit

Transfers, their cache (`HF_HOME`), the offline mode (`HF_HUB_OFFLINE=1`) and the token (`hf auth login`) are those of
`huggingface_hub`.
"""

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tfflows.errors import CorruptError, ExistsError, HubError, InputError, TfflowsError, UnsupportedError
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder
from tfflows.zoo.recipe import Recipe, split_address

DATASETS = {"mnist": "ylecun/mnist", "fashion_mnist": "zalando-datasets/fashion_mnist", "cifar10": "uoft-cs/cifar10"}
KERAS_FILES = ("config.json", "metadata.json")  # which with model.weights.h5 make a model for Keras
CARD = """# {name}

{recipe.description}

Test bits/dim {metrics[bits_per_dim]:.4f}: {metrics[protocol]}; {metrics[num_images]:,} images, split
`{metrics[split]}` of {metrics[data]}. `recipe.toml` says how it was trained, `metrics.json` what was measured.
"""
USE = """
## Use

```python
import tfflows

flow = tfflows.zoo.load("{address}")  # a keras.Model, verified against its manifest
images = flow.sample(16, temperature=0.8)
```

With `import tfflows`, `keras.saving.load_model("{plain}")` loads it too, without the check.
"""


def fetch(address: str) -> Path:
    """Returns the folder of a repository, downloaded unless it is in the hub's cache, and verified.

    Args:
        address: `hf://ORG/NAME`, with `@REVISION` for another than the newest.

    Raises:
        HubError: the hub cannot be reached, or has no such repository or revision.
        CorruptError: what arrived is not what its manifest says; it is deleted from the cache.
        UnsupportedError: huggingface_hub is not installed.
    """
    repository, revision = split_address(address)
    hub = _import_hub()
    with _explained(address):
        folder = Path(hub.snapshot_download(repository, revision=revision))
    try:
        store.verify(folder)
    except CorruptError as error:
        with contextlib.suppress(hub.errors.CacheNotFound, KeyError):
            hub.scan_cache_dir().delete_revisions(folder.name).execute()
        raise CorruptError(f"{address} is not as its manifest says ({error}): it must be pushed again") from error
    return folder


def push(folder: Path, address: str, private: bool = False, license: str = "apache-2.0") -> str:
    """Uploads a version folder to the hub, as one commit with the tag `v<version>`.

    Args:
        folder: a verified version folder.
        address: `hf://ORG/NAME`; the repository is made if there is none.
        private: whether a new repository is visible to its owners alone.
        license: of the weights, an identifier that the hub knows.

    Returns:
        The address with the tag.

    Raises:
        InputError: the address is not one, or has a revision.
        ExistsError: the repository has a tag of this version.
        HubError: the hub cannot be reached, or refuses.
        UnsupportedError: huggingface_hub is not installed.
    """
    repository, revision = split_address(address)
    if revision is not None:
        raise InputError(f"cannot push to {address}: leave out @{revision}, the tag is that of the version")
    hub, version = _import_hub(), store.number(folder)
    tag = f"v{version}"
    with _explained(address), tempfile.TemporaryDirectory() as temporary:
        content = Path(temporary)
        _write_content(folder, content, f"{address}@{tag}", license)  # before there is a repository
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        if tag in (reference.name for reference in api.list_repo_refs(repository).tags):
            raise ExistsError(f"{address} has {tag}: versions are never overwritten, push another version")
        commit = api.upload_folder(
            repo_id=repository, folder_path=content, commit_message=f"Version {version}", delete_patterns="*"
        )
        api.create_tag(repository, tag=tag, revision=commit.oid)
    return f"{address}@{tag}"


def _write_content(folder: Path, content: Path, address: str, license: str) -> None:
    """Writes what a repository holds: the version folder, Keras's files, a manifest of both, and the card."""
    from tfflows.zoo import builder

    sums = store.manifest(folder)
    for name in sums:
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, content / name)
    metrics = json.loads((folder / "metrics.json").read_text())
    if metrics.get("path"):  # of images of one's own: where they lie is nobody else's business
        metrics["path"] = metrics["data"] = Path(metrics["path"]).name
        (content / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        sums["metrics.json"] = store.sha256(content / "metrics.json")
    recipe = Recipe.from_toml(folder / "recipe.toml")
    path = content / "model.keras"
    builder.build(recipe).save(path)
    with zipfile.ZipFile(path) as archive:
        for name in KERAS_FILES:
            archive.extract(name, content)
            sums[name] = store.sha256(content / name)
    path.unlink()
    manifest = {"version": store.number(folder), "sha256": sums}
    (content / store.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    card = _header(recipe, metrics, license) + _body(folder, recipe, metrics, content)
    plain = address.partition("@")[0]
    (content / "README.md").write_text(card + USE.format(address=address, plain=plain), "utf-8")


def _header(recipe: Recipe, metrics: dict[str, Any], license: str) -> str:
    """Returns the hub's YAML, which it shows and searches by."""
    hub, own = _import_hub(), metrics.get("path")
    dataset = own or DATASETS.get(recipe.data.dataset, recipe.data.dataset)
    result = hub.EvalResult(
        task_type="unconditional-image-generation",
        task_name="Density estimation",
        dataset_type=dataset,
        dataset_name=own or recipe.data.dataset,
        dataset_split="test",
        metric_type="bits_per_dim",
        metric_name="test bits/dim",
        metric_value=round(metrics["bits_per_dim"], 4),
    )
    data = hub.ModelCardData(
        model_name=recipe.name,
        library_name="tfflows",
        license=license,
        datasets=None if own else [dataset],
        pipeline_tag="unconditional-image-generation",
        tags=["normalizing-flow", "density-estimation", recipe.model.family, "keras", "tensorflow", "jax"],
        eval_results=[result],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def _body(folder: Path, recipe: Recipe, metrics: dict[str, Any], content: Path) -> str:
    """Returns the zoo's card, with its pictures copied to `content`, or a short one for other weights."""
    name, card = recipe.name, packaged_folder("zoo") / f"{recipe.name}.md"
    if folder.parents[1] == packaged_folder("saved_models") and card.is_file():
        shutil.copytree(folder.parent / "pictures", content / "pictures")
        return card.read_text("utf-8").replace(f"](../saved_models/{name}/", "](")
    picture = "\n![Samples](samples.png)\n" if (content / "samples.png").is_file() else ""
    return CARD.format(name=name, recipe=recipe, metrics=metrics) + picture


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """A context that turns the errors of huggingface_hub, and of the network below it, into a `HubError`."""
    hub = _import_hub()
    import httpx2  # huggingface_hub's

    try:
        yield
    except hub.errors.LocalEntryNotFoundError as error:
        remedy = "unset HF_HUB_OFFLINE" if hub.is_offline_mode() else "try again when the hub can be reached"
        raise HubError(f"{address} is not in the cache, and cannot be downloaded: {remedy}") from error
    except TfflowsError:
        raise
    except (
        httpx2.HTTPError,
        hub.errors.HFValidationError,
        hub.errors.OfflineModeIsEnabled,
        RuntimeError,  # of broken uploads
    ) as error:
        reason = str(error).partition("\n")[0]
        raise HubError(f"{address} cannot be used ({reason}): correct the address, or `hf auth login`") from error


def _import_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnsupportedError("hf:// needs huggingface_hub: pip install 'tfflows[hub]'") from error
    return huggingface_hub
