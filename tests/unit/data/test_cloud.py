"""Files in a cloud: a small store on this machine stands for it, which insists on its key."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import DataError, SettingError

SMALL = pl.DataFrame({"user": [1, 2, 3], "city": ["a", "b", "c"]})


class Store(BaseHTTPRequestHandler):
    """Answers HEAD and GET of ranges, as S3 does, to who shows the key `mine`."""

    folder: Path

    def do_GET(self) -> None:
        file = self.folder / self.path.split("?")[0].lstrip("/")
        if "mine" not in self.headers.get("authorization", "") and self.path.startswith("/bucket"):
            return self._answer(403, b"")
        if not file.is_file():
            return self._answer(404, b"")
        content = file.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if wanted is None:
            return self._answer(200, content)
        start, end = _range(wanted[1], wanted[2], len(content))
        return self._answer(206, content[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"})

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        dated = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": '"x"', "Accept-Ranges": "bytes"}
        for name, value in {**dated, **(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def _range(start: str, end: str, length: int) -> tuple[int, int]:
    if not start:
        return max(length - int(end), 0), length
    return int(start), min(int(end) + 1, length) if end else length


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "bucket").mkdir()
    SMALL.write_parquet(tmp_path / "bucket" / "a.parquet")
    SMALL.write_csv(tmp_path / "bucket" / "a.csv")
    SMALL.write_parquet(tmp_path / "open.parquet")
    handler = type("Mine", (Store,), {"folder": tmp_path})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def options(store: str, key: str = "mine") -> dict[str, str]:
    return {
        "aws_endpoint_url": store,
        "aws_access_key_id": key,
        "aws_secret_access_key": "secret",
        "aws_region": "eu-west-1",
        "aws_allow_http": "true",
    }


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_url_is_read_with_the_options_for_its_store(store: str, name: str) -> None:
    url = f"s3://bucket/{name}"
    dataset = Dataset(url, storage_options=options(store))
    assert_frame_equal(dataset.compute(), SMALL)
    assert dataset.files == ((url,) if name == "a.parquet" else ())
    chosen = dataset.select("user")  # derived datasets keep the options
    assert chosen.filter(pl.col("user") > 1).compute()["user"].to_list() == [2, 3]
    (batch,) = Loader(chosen, shuffle=False)
    assert batch.features["user"].tolist() == [1, 2, 3]


def test_a_plain_web_address_needs_none(store: str) -> None:
    assert_frame_equal(Dataset(f"{store}/open.parquet").compute(), SMALL)


def test_a_store_that_refuses_is_named(store: str) -> None:
    with pytest.raises(DataError, match=r"^s3://bucket/a.parquet: the rows cannot be computed \(.*403"):
        Dataset("s3://bucket/a.parquet", storage_options=options(store, key="other"))


def test_a_split_of_a_url_is_answered_with_a_pattern() -> None:
    with pytest.raises(SettingError, match=r"^hf://datasets/a/b: split='train' is for a folder .* 'train-\*.parquet'"):
        Dataset("hf://datasets/a/b", split="train")
