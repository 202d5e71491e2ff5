import hashlib
import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vidsim.encoders import catalog
from vidsim.encoders.checkpoint import hash_config, hash_weights, weights_of
from vidsim.errors import CheckpointUnavailable, VidsimError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def whole(_layer, features):
    return features


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Keep every cache of the test in its own folder."""
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "vidsim-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def rewrite(made, change):
    state = load_file(made.folder / "model.safetensors")
    change(state)
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})


def pickled(made, state):
    (made.folder / "model.safetensors").unlink()
    torch.save(state, made.folder / "pytorch_model.bin")


def fails(made, error=VidsimError):
    with pytest.raises(error) as told:
        catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    message = str(told.value)
    assert "\n" not in message
    return message


QKV = "encoder.layer.1.attention.attention.qkv.weight"


def test_missing_weights_are_named(publish):
    made = publish("timesformer-base")
    rewrite(made, lambda state: state.pop(f"timesformer.{QKV}"))
    assert f"{QKV} is missing" in fails(made)


def test_surplus_weights_are_named(publish):
    made = publish("timesformer-base")
    rewrite(made, lambda state: state.update({"timesformer.encoder.layer.7.novel.weight": torch.zeros(2)}))
    assert "encoder.layer.7.novel.weight is left over" in fails(made)


def test_a_renamed_weight_is_told_twice(publish):
    made = publish("clip-vit-b-32")
    name = "vision_model.encoder.layers.0.mlp.fc1.bias"
    rewrite(made, lambda state: state.update({f"{name}_": state.pop(name)}))
    message = fails(made)
    assert "encoder.layers.0.mlp.fc1.bias is missing" in message
    assert "encoder.layers.0.mlp.fc1.bias_ is left over" in message


def test_weights_of_another_shape_are_refused_with_both(publish):
    made = publish("dino-vitb16")
    name = "encoder.layer.0.intermediate.dense.bias"
    rewrite(made, lambda state: state.update({name: torch.zeros(63)}))
    assert "layers.0.mlp.fc1.bias is 63, expected 64" in fails(made)


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_missing_files_are_named(missing, publish):
    made = publish("timesformer-base")
    (made.folder / missing).unlink()
    message = fails(made)
    assert missing in message
    assert str(made.folder) in message


def test_broken_files_are_named(publish):
    made = publish("timesformer-base")
    (made.folder / "config.json").write_text("{")
    assert "config.json' cannot be read as JSON" in fails(made)
    made.folder.rename(made.folder.with_name("broken"))
    again = publish("timesformer-base")
    weights = again.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "cannot be loaded as TimesformerModel" in fails(again)


def test_a_missing_folder_is_told():
    with pytest.raises(VidsimError, match="no folder '/nowhere/at/all'"):
        catalog.resolve("timesformer-base", checkpoint="/nowhere/at/all")


@pytest.mark.parametrize("name", ["timesformer-base", "clip-vit-b-32"])
def test_pickles_of_plain_tensors_are_converted_once(name, publish, clips, caches):
    made = publish(name)
    plain = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    pickled(made, dict(made.state))
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    encoder = catalog.load(resolved, device="cpu")
    found, expected = (one.encode(clips(made.card, 1), made.card.layers, whole) for one in (encoder, plain))
    for layer in made.card.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])
    [converted] = (caches.parent / "vidsim-cache" / "checkpoints").iterdir()
    before = (converted / "model.safetensors").stat().st_mtime_ns
    catalog.load(resolved, device="cpu")
    assert (converted / "model.safetensors").stat().st_mtime_ns == before
    assert not list(made.folder.glob("*.safetensors"))  # the user's folder is left as it is


def test_sharded_pickles_are_put_together(publish, clips):
    made = publish("timesformer-base")
    expected = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    (made.folder / "model.safetensors").unlink()
    shards = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    placed = {name: shards[i % 2] for i, name in enumerate(made.state)}
    for shard in shards:
        torch.save({name: made.state[name] for name, where in placed.items() if where == shard}, made.folder / shard)
    (made.folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    batch, layer = clips(made.card, 1), made.card.layers[-1]
    np.testing.assert_array_equal(*(one.encode(batch, [layer], whole)[layer] for one in (encoder, expected)))
    (made.folder / shards[1]).unlink()
    assert f"names '{shards[1]}', which is not there" in fails(made)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_is_refused_and_not_run(publish, tmp_path):
    made = publish("timesformer-base")
    sign = tmp_path / "run"
    pickled(made, {**made.state, "bomb": Bomb(sign)})
    assert "is not a pickle of plain tensors" in fails(made)
    (made.folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(sign)))
    assert "is not a pickle of plain tensors" in fails(made)
    assert not sign.exists()
    pickled_more = {"model_state": dict(made.state), "epoch": 3}
    torch.save(pickled_more, made.folder / "pytorch_model.bin")
    assert "holds more than named tensors" in fails(made)


def test_hashes_are_sha256_and_follow_content(publish):
    made = publish("timesformer-base")
    expected = hashlib.sha256((made.folder / "model.safetensors").read_bytes()).hexdigest()
    assert hash_weights(made.folder) == expected
    assert weights_of(made.folder) == (made.folder / "model.safetensors",)
    before = hash_config(made.folder)
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(
        json.dumps({**config, "transformers_version": "9", "id2label": {"0": "x"}})
    )
    assert hash_config(made.folder) == before
    (made.folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    assert hash_config(made.folder) != before


def in_hub_cache(made, caches, revision=COMMIT):
    place = caches / f"models--{made.card.checkpoint.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    shutil.copytree(made.folder, place / "snapshots" / revision)
    return place / "snapshots" / revision


def test_the_hubs_cache_is_used_and_its_commit_told(publish, caches):
    made = publish("dino-vitb16")
    folder = in_hub_cache(made, caches)
    cached = catalog.resolve(made.card, revision="main")
    assert (cached.source, cached.revision, cached.folder, cached.local) == ("hub", COMMIT, folder, None)
    local = catalog.resolve(made.card, checkpoint=str(made.folder))
    assert local.identity == cached.identity
    assert (local.source, local.revision, local.local) == ("folder", None, str(made.folder))
    assert catalog.resolve(made.card, revision=COMMIT).identity == cached.identity
    json.dumps(cached.identity)
    json.dumps(cached.provenance)


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json"])
def test_a_partial_download_does_not_count_as_cached(missing, publish, caches):
    made = publish("dino-vitb16")
    (in_hub_cache(made, caches) / missing).unlink()
    with pytest.raises(CheckpointUnavailable, match="is not in the cache"):
        catalog.resolve(made.card, offline=True)


def test_an_unreachable_hub_is_one_quick_line(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.HfApi, "__init__", with_endpoint("http://127.0.0.1:9"))
    start = time.perf_counter()
    with pytest.raises(CheckpointUnavailable) as told:
        catalog.resolve("timesformer-base")
    assert time.perf_counter() - start < 5
    message = str(told.value)
    assert "\n" not in message
    for part in ("facebook/timesformer-base-finetuned-k400", "connect once", "--checkpoint FOLDER", "motion-energy"):
        assert part in message


def with_endpoint(url):
    original = huggingface_hub.HfApi.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **{**kwargs, "endpoint": url})

    return init


def test_an_unreachable_hub_leaves_stderr_alone(tmp_path):
    program = (
        "from vidsim.encoders import catalog\n"
        "from vidsim.errors import CheckpointUnavailable\n"
        "try:\n    catalog.resolve('timesformer-base')\n"
        "except CheckpointUnavailable as error:\n    print(error)\n"
        "import sys\nassert 'torch' not in sys.modules\n"
    )
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


class Hub(BaseHTTPRequestHandler):
    """Answer as the hub does, for one repository."""

    files: Mapping[str, bytes] = {}
    asked: list[str] = []  # noqa: RUF012
    root = "facebook/dino-vitb16"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        self.asked.append(self.path)
        _, _, rest = self.path.partition(self.root)
        if rest in {"/revision/main", f"/revision/{COMMIT}"}:
            siblings = [{"rfilename": name} for name in self.files]
            return self.send(json.dumps({"id": self.root, "sha": COMMIT, "siblings": siblings}).encode())
        if rest.startswith("/revision/"):
            return self.send(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        if rest.startswith("/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            return self.send(json.dumps(tree).encode())
        if (name := rest.partition(f"/resolve/{COMMIT}/")[2]) in self.files:
            content = self.files[name]
            etag = hashlib.sha1(content).hexdigest()
            return self.send(content, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})
        return self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def send(self, content, status=200, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub():
    Hub.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(home, hub, call):
    """Resolve in a fresh process: the hub's client reads its settings when it is imported."""
    program = (
        "import json\nfrom vidsim.encoders import catalog\nfrom vidsim.errors import CheckpointUnavailable\n"
        f"try:\n    found = catalog.resolve({call})\n"
        "    print(json.dumps([found.identity, found.source, found.revision, str(found.folder)]))\n"
        "except CheckpointUnavailable as error:\n    print(json.dumps(str(error)))\n"
    )
    environment = {"HF_HOME": str(home), "HF_ENDPOINT": hub, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_what_is_needed_is_downloaded_once_and_no_more(kind, publish, hub, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    if kind == "pickle":
        pickled(made, dict(made.state))
    files = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    if kind == "safetensors":
        files["pytorch_model.bin"] = b"not this"
    others = {"README.md": b"hello", "tf_model.h5": b"x", "onnx/model.safetensors": b"x", ".gitattributes": b"x"}
    monkeypatch.setattr(Hub, "files", {**files, **others})
    identity, source, revision, folder = ask(tmp_path, hub, "'dino-vitb16', revision='main'")
    assert (source, revision) == ("hub", COMMIT)
    got = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    assert got == set(files) - ({"pytorch_model.bin"} if kind == "safetensors" else set())
    local = catalog.resolve("dino-vitb16", checkpoint=str(made.folder)).identity
    assert identity == json.loads(json.dumps(local))
    Hub.asked.clear()
    again = ask(tmp_path, hub, f"'dino-vitb16', revision={COMMIT!r}")
    assert (again[0], Hub.asked) == (identity, [])


def test_the_hubs_refusals_are_told_apart(hub, tmp_path):
    assert ask(tmp_path, hub, "'dino-vitb16', revision='v9'") == (
        "no revision 'v9' of facebook/dino-vitb16 on the hub; leave --revision out for f205d5d8e640"
    )
    assert "the hub has no such repository or does not open it" in ask(tmp_path, hub, "'clip-vit-b-32'")


def test_a_processor_of_another_spelling_is_the_same_identity(publish):
    made = publish("videomae-base-finetuned-kinetics")
    path = made.folder / "preprocessor_config.json"
    spellings = [
        {"feature_extractor_type": "VideoMAEFeatureExtractor", "size": 224},
        {"image_processor_type": "VideoMAEImageProcessor", "size": {"shortest_edge": 224}, "crop_size": 224},
        {"do_normalize": True, "do_resize": True, "size": 224, "resample": 2},  # the oldest files name no class
    ]
    identities = []
    for spelling in spellings:
        path.write_text(json.dumps(spelling))
        identities.append(catalog.resolve(made.card, checkpoint=str(made.folder)).identity)
    assert identities[0] == identities[1] == identities[2]


def test_a_folder_and_a_revision_contradict_each_other(publish):
    made = publish("dino-vitb16")
    with pytest.raises(VidsimError, match="leave it out"):
        catalog.resolve(made.card, checkpoint=str(made.folder), revision="v1")


def test_identity_knows_what_matters(publish):
    made = publish("timesformer-base")
    base = catalog.resolve(made.card, checkpoint=str(made.folder)).identity
    mean = catalog.resolve(made.card, checkpoint=str(made.folder), pooling="mean").identity
    assert {key for key in base if base[key] != mean[key]} == {"pooling"}
    processor = json.loads((made.folder / "preprocessor_config.json").read_text())
    (made.folder / "preprocessor_config.json").write_text(json.dumps({**processor, "resample": 3}))
    other = catalog.resolve(made.card, checkpoint=str(made.folder)).identity
    assert {key for key in base if base[key] != other[key]} == {"preprocess"}
    rewrite(made, lambda state: state["classifier.bias"].add_(1))
    changed = catalog.resolve(replace(made.card), checkpoint=str(made.folder)).identity
    assert {key for key in other if other[key] != changed[key]} == {"weights"}


def test_pickles_of_folders_without_safetensors_are_downloaded_too(publish, hub, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    files = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    # old pipelines of sentence-transformers have safetensors of their transformer alone
    dense = {"2_Dense/config.json": b"{}", "2_Dense/pytorch_model.bin": b"x", "3_Dense/model.safetensors": b"x"}
    others = {"pytorch_model.bin": b"not this", "3_Dense/pytorch_model.bin": b"nor this"}
    monkeypatch.setattr(Hub, "files", {**files, **dense, **others})
    *_, folder = ask(tmp_path, hub, "'dino-vitb16', revision='main'")
    got = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    assert got == {*files, *dense}
