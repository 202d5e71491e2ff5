"""Tiny downloads in the cache of the hub's client."""

import shutil

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def branch(folder, name="main"):
    """Let a branch lead to a download."""
    (folder.parents[1] / "refs").mkdir(exist_ok=True)
    (folder.parents[1] / "refs" / name).write_text(folder.name)


def in_hub_cache(made, cache, revision=COMMIT):
    folder = cache / f"models--{made.card.checkpoint.replace('/', '--')}" / "snapshots" / revision
    shutil.copytree(made.folder, folder)
    branch(folder)
    return folder
