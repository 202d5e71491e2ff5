"""``vidsim doctor``: versions, hardware, codecs, store health, and combinations known to be bad."""

import platform
import sys
from pathlib import Path
from typing import Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Json, Root
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.report.text import counted

LIBRARIES = (
    *(
        "vidsim",
        "numpy",
        "scipy",
        "matplotlib",
        "pyarrow",
        "lancedb",
        "torch",
        "transformers",
        "safetensors",
        "av",
        "faiss-cpu",
        "faiss-gpu",
    ),
    *("sentence-transformers", "decord2"),
)
CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "prores", "gif", "wmv3")


def doctor(root: Root = DEFAULT_ROOT, json: Json = False) -> None:
    """Check versions, torch build, GPU, video codecs, store health and known-bad combinations."""
    problems = [*combinations(installed_packages()), *_outdated()]
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        **_torch(problems),
        **_codecs(problems),
        **_store(root_of(root), problems),
    }
    facts["problems"] = problems
    if json:
        show.emit(facts)
    else:
        for key, value in facts.items():
            if key == "problems":
                continue
            if isinstance(value, dict):
                shown = ", ".join(f"{name} {what or '-'}" for name, what in value.items())
            else:
                shown = ", ".join(value) if isinstance(value, list) else str(value)
            typer.echo(f"{key}: {shown}")
        for problem in problems:
            typer.echo(f"problem: {problem}")
        typer.echo(f"{counted(len(problems), 'problem')} found" if problems else "all is well")
    if problems:
        sys.exit(1)


def combinations(installed: set[str]) -> list[str]:
    """Name the combinations of installed packages that are known to be bad.

    Parameters
    ----------
    installed : set of str
        Names of installed distributions, in lower case.

    Returns
    -------
    list of str
        One line a problem, with its remedy.
    """
    found: list[str] = []
    if {"faiss-cpu", "faiss-gpu"} <= installed:
        found.append("faiss-cpu and faiss-gpu overwrite each other's files: pip uninstall both, then install one")
    if not installed & {"faiss-cpu", "faiss-gpu"}:
        found.append("no faiss, so no index can be built or searched: pip install 'vidsim[cpu]'")
    if {"decord", "decord2"} <= installed:
        found.append("decord and decord2 share a module name, and decord returns wrong frames: pip uninstall decord")
    elif "decord" in installed:
        found.append("decord 0.6 returns wrong frames silently: pip uninstall decord; decord2 takes its place")
    return found


def installed_packages() -> set[str]:
    """Return the names of the installed distributions, in lower case."""
    from importlib.metadata import distributions

    return {(found.metadata["Name"] or "").lower() for found in distributions()}


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _outdated() -> list[str]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    found: list[str] = []
    for line in requires("vidsim") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        there = _version(requirement.name)
        if there is None or not requirement.specifier.contains(there, prereleases=True):
            what = f"{requirement.name} is {there or 'missing'}"
            found.append(f"{what}, vidsim needs {requirement.specifier or 'it'}: pip install --upgrade vidsim")
    return found


def _torch(problems: list[str]) -> dict[str, Any]:
    from importlib.util import find_spec

    try:
        import torch
    except Exception as error:
        problems.append(f"torch cannot be imported: {' '.join(str(error).split())}")
        return {}
    if find_spec("torchvision") is not None:
        try:
            import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
        except Exception as error:
            problems.append(
                "torchvision does not fit this torch and takes transformers down with it: pip uninstall torchvision, "
                f"vidsim does not need it ({' '.join(str(error).split())})"
            )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "torch": f"{torch.__version__} ({'CUDA ' + torch.version.cuda if torch.version.cuda else 'CPU build'})",
        "threads": str(torch.get_num_threads()),
        "gpus": gpus or ["none"],
    }


def _codecs(problems: list[str]) -> dict[str, Any]:
    try:
        import av
        from av.codec import codecs_available
    except Exception as error:
        problems.append(f"PyAV cannot be imported: {' '.join(str(error).split())}")
        return {}
    missing = [name for name in CODECS if name not in codecs_available]
    if "h264" in missing:
        problems.append("this PyAV build decodes no H.264: pip install --force-reinstall --only-binary :all: av")
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    return {
        "ffmpeg": libraries.get("libavcodec", "?"),
        "codecs": [name for name in CODECS if name not in missing],
        "codecs missing": missing or ["none"],
    }


def _store(root: str, problems: list[str]) -> dict[str, Any]:
    from vidsim.errors import NoStore, VidsimError
    from vidsim.retrieval.indexes import load
    from vidsim.retrieval.manifest import built
    from vidsim.store import Store

    problems += _unwritable(root)
    try:
        store = Store(root)
        problems += store.check()
        tables = f"{len(store.tables())} tables"
    except NoStore as error:
        tables = str(error)
    except VidsimError as error:
        tables = "cannot be opened"
        problems.append(str(error))
    indexes: list[str] = []
    try:
        there = built(root)
    except (VidsimError, OSError) as error:
        there = []
        problems.append(f"the indexes in {root!r} cannot be listed: {error}")
    for encoder, layer in there:
        try:
            indexes.append(f"{encoder} {layer} ({len(load(root, encoder, layer, thorough=True))} rows)")
        except (VidsimError, OSError) as error:
            problems.append(str(error))
    return {"root": root, "store": tables, "indexes": indexes or ["none"]}


def _unwritable(root: str) -> list[str]:
    """Write a file in an artefact root that is there, to see whether it can be."""
    from vidsim.cli.output_folder import try_writing

    if not Path(root).is_dir():  # not yet, or on an object store
        return []
    try:
        try_writing(Path(root))
    except OSError as error:
        return [f"nothing can be written to {root!r}: {error.strerror or error}; mend that, or choose another --root"]
    return []
