import errno
from pathlib import Path

import pytest

from vidsim.errors import StoreError
from vidsim.store import door
from vidsim.store.door import committed, folder, is_remote, storage_options, told


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {"aws_region": "eu-west-1"}),
        (
            {"AWS_ENDPOINT": "https://minio.example", "AWS_REGION": "x"},
            {"aws_endpoint": "https://minio.example", "aws_region": "x"},
        ),
        (
            {"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2"},
            {"aws_endpoint": "http://b:2", "allow_http": "true", "aws_region": "us-east-1"},
        ),
    ],
)
def test_storage_options_follow_the_environment(environ: dict[str, str], expected: dict[str, str]) -> None:
    assert storage_options("s3://bucket/prefix", environ) == expected
    assert storage_options("gs://bucket", environ) == {}


def test_roots_are_made_absolute_and_uris_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert folder("indexes") == str(tmp_path / "indexes")
    assert folder(Path("~/x")) == "/home/someone/x"
    assert folder("s3://bucket/prefix/") == "s3://bucket/prefix"
    assert is_remote("gs://b")
    assert not is_remote("/a/b")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left .* 'root'; what was committed is safe"),
        (RuntimeError("lance error: LanceError(IO): No space left on device (os error 28), /x.rs:1"), "no space left"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "the disk of .* 'root' is read-only; what was committed is safe",
        ),
        (
            RuntimeError('LanceError(IO): Read-only file system (os error 30) at path "/r/store/x.lance/data/.tmp"'),
            "the disk of the store in 'root' is read-only; .*: make it writable, or choose another --root$",
        ),
        (PermissionError(13, "Permission denied"), "no permission to use .*'root'"),
        (ValueError("<Code>NoSuchBucket</Code>"), "bucket .* does not exist"),
        (RuntimeError("status 403: <Code>AccessDenied</Code>"), "denied; check the credentials"),
        (RuntimeError("kind: Connect, source: ConnectError"), "cannot be reached"),
        (RuntimeError("lance error: two\nlines, /me/.cargo/x.rs:1"), "cannot be used: two lines; see: vidsim doctor"),
    ],
)
def test_failures_are_told_in_one_line(error: Exception, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught, told("root"):
        raise error
    assert "\n" not in str(caught.value)
    assert ".rs" not in str(caught.value)


@pytest.mark.parametrize(
    ("root", "error", "variables"),
    [
        (
            "gs://b/p",
            'GCS", source: TokenRequest { uri: Some(http://169.254.169.254/computeMetadata/v1/instance)',
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            "az://b/p",
            "Unable to find object store prefix: no Azure account name in URI, and no storage account configured.",
            "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
        ),
        ("s3://b/p", "status 403: <Code>AccessDenied</Code>", "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_missing_credentials_are_named(root: str, error: str, variables: str) -> None:
    with pytest.raises(StoreError) as caught, told(root):
        raise ValueError(error)
    assert str(caught.value) == f"access to the store in {root!r} is denied; check the credentials ({variables})"


def test_an_unknown_scheme_is_told_with_those_that_are_known() -> None:
    with pytest.raises(StoreError) as caught:
        door.connect("foo://x")
    assert str(caught.value) == (
        "the store in 'foo://x' cannot be used, as it begins with no scheme that is known; expected s3://, gs://, "
        "az:// or abfss://, or a folder"
    )


def test_a_native_panic_is_told_and_an_interrupt_is_not() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(StoreError, match="index out of bounds"), told("root"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), told("root"):
        raise KeyboardInterrupt


def test_conflicts_are_tried_again_and_other_errors_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(door.time, "sleep", waits.append)
    errors = [RuntimeError("Retryable commit conflict for version 3"), OSError("Too many concurrent writers")]

    def commit() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    assert committed("root", commit) == "done"
    assert len(waits) == 2

    calls = 0

    def conflict() -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("commit conflict")

    with pytest.raises(StoreError, match="conflict"):
        committed("root", conflict)
    assert calls == door.ATTEMPTS
    assert sum(waits) < 10

    calls = 0

    def broken() -> None:
        nonlocal calls
        calls += 1
        raise ValueError("broken")

    with pytest.raises(StoreError, match="broken"):
        committed("root", broken)
    assert calls == 1
