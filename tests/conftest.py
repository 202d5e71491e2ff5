"""Fixtures shared by all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import hypothesis
import jaxtyping
import pytest

# two processes test at once; more threads would only wait for each other (read when numpy and torch are imported)
os.environ.setdefault("OMP_NUM_THREADS", "1")

from vidsim.cli import main

from clips import moving_square, write_clip

hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is not a fault
hypothesis.settings.load_profile("patient")

Run = Callable[..., tuple[int, str, str]]

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first, so that none is left alone at the end; the others stay in their order."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data beside the checkout; skip without it, fail where CI expects it."""
    if not SHARED.is_dir():
        message = "real data is missing: expected the folder ../shared beside the checkout"
        if os.environ.get("VIDSIM_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture
def unhooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave arguments to vidsim's own checks, as in use: types are otherwise checked while tests run."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def people(shared: Path) -> Path:
    """Return the folder of 27 short real clips of people."""
    return shared / "data" / "clips" / "people"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six small synthetic clips; tests copy what they change."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(6):
        images = moving_square(frames=12 + number, step=1 + number, start=5 * number)
        write_clip(folder / f"clip {number}.mp4", images)
    return folder


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """Serve an empty bucket that speaks S3 on the loopback interface."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        urlopen(Request(f"{endpoint}/bucket", method="PUT")).close()
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def vidsim(capsys: pytest.CaptureFixture[str]) -> "Run":
    """Return a function that runs the command line in this process: (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function after which nobody, not even root, can look into a folder."""
    stat, access = os.stat, os.access

    def lock(folder: Path) -> None:
        def within(path: object) -> bool:
            return str(path).startswith(f"{folder}/")

        def refuse(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
            if within(path):
                raise PermissionError(13, "Permission denied", str(path))
            return stat(path, *arguments, **options)

        monkeypatch.setattr(os, "stat", refuse)
        monkeypatch.setattr(os, "access", lambda path, mode: not within(path) and access(path, mode))

    return lock
