"""The hub is asked for what is needed and no more; what it refuses is one line."""

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from tiny_hub import COMMIT, FILES, OTHER, in_hub_cache

from vidsim.encoders import catalog
from vidsim.errors import CheckpointUnavailable

from clips import moving_square, write_clip

pytestmark = pytest.mark.usefixtures("hub_folder")


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
        "import json\nfrom vidsim.encoders import catalog\nfrom vidsim.errors import VidsimError\n"
        f"try:\n    found = catalog.resolve({call})\n"
        "    print(json.dumps([found.identity, found.source, found.revision, str(found.folder)]))\n"
        "except VidsimError as error:\n    print(json.dumps(str(error)))\n"
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


def damage(folder, how):
    file = folder / "config.json"
    if how == "damaged":
        file.write_text("{")  # through the link
    if how == "no blob":
        file.resolve().unlink()
    if how == "missing":
        file.unlink()
        return f"{file.name} is missing"
    return f"{file.name} is {how if how == 'damaged' else 'a link whose blob is gone'}"


@pytest.mark.parametrize("how", ["missing", "no blob", "damaged"])
def test_the_command_that_is_told_mends_a_download(how, publish, hub, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    monkeypatch.setattr(Hub, "files", {path.name: path.read_bytes() for path in made.folder.iterdir()})
    call = f"'dino-vitb16', revision={COMMIT!r}"
    first = ask(tmp_path, hub, call)
    told = damage(Path(first[3]), how)
    message = ask(tmp_path, "http://127.0.0.1:9", call)
    assert f"in '{first[3]}' {told}" in message
    command = message.partition("run 'hf ")[2].partition("'")[0].split()
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub}
    hf = Path(sys.executable).with_name("hf")
    subprocess.run([hf, *command], env=environment, capture_output=True, check=True)
    assert ask(tmp_path, "http://127.0.0.1:9", call) == first


@pytest.mark.parametrize("how", ["missing", "no blob"])
def test_asking_the_hub_again_mends_a_download(how, publish, hub, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    monkeypatch.setattr(Hub, "files", {path.name: path.read_bytes() for path in made.folder.iterdir()})
    first = ask(tmp_path, hub, f"'dino-vitb16', revision={COMMIT!r}")
    damage(Path(first[3]), how)
    assert ask(tmp_path, hub, f"'dino-vitb16', revision={COMMIT!r}") == first


def test_an_unknown_revision_is_refused_with_both(refused, hub_folder, publish):
    # a download of another revision does not serve
    in_hub_cache(publish("dino-vitb16"), hub_folder)
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
def test_a_gated_repository_says_how_access_is_had(status, refused, hub, hub_folder, monkeypatch):
    card = catalog.card("dinov3-vitb16")
    monkeypatch.setattr(Hub, "root", card.checkpoint)
    monkeypatch.setattr(Hub, "files", dict.fromkeys(FILES, b"{}"))
    monkeypatch.setattr(Hub, "gate", (status, "GatedRepo"))  # what is in it is told to everybody
    assert refused("--encoder", "dinov3", "--revision", "main") == (
        f"no weights for dinov3-vitb16: {card.checkpoint} (revision main) is not in the cache '{hub_folder}' and is "
        f"gated on the hub; request access at {hub}/{card.checkpoint} and log in with a token of that account "
        "(hf auth login), or give --checkpoint FOLDER with its files; motion-energy works offline"
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
        "the hub answers 401 (Invalid credentials in Authorization header); try again, or give --checkpoint FOLDER"
        in told
    )
