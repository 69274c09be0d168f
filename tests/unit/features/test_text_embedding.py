import math
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, NotSavableError, SettingError
from tamis.features.lookup import bucket
from tamis.features.ops import AddTags, TextEmbedding
from tamis.features.workflow import Workflow
from tamis.schema import Tags


def fitted(op, values, dtype=pl.String):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> op).fit(frame)
    return workflow, workflow.transform(frame)["a"]


def vectors(op, values, dtype=pl.String) -> np.ndarray:
    return fitted(op, values, dtype)[1].to_numpy()


def test_texts_become_vectors_of_length_1() -> None:
    workflow, found = fitted(TextEmbedding(32), ["red shoes", "Blue!", None, "", "?!"])
    assert found.dtype == pl.Array(pl.Float32, 32)
    assert np.linalg.norm(found.to_numpy(), axis=1) == pytest.approx([1, 1, 0, 0, 0])
    column = workflow.output_schema["a"]
    assert (column.width, column.dtype, column.has_tag(Tags.EMBEDDING)) == (32, "float32", True)


def test_texts_that_share_words_or_parts_of_them_are_near() -> None:
    found = vectors(TextEmbedding(512), ["running shoes red", "red shoe for runners", "kitchen table oak"])
    assert found[0] @ found[1] > 0.3 > 0.15 > abs(found[0] @ found[2])


def test_capitals_order_and_punctuation_do_not_count() -> None:
    found = vectors(TextEmbedding(16), ["Red shoes", "shoes, RED!"])
    assert (found[0] == found[1]).all()
    assert (vectors(TextEmbedding(16), [["Red", None, "shoes"]], pl.List(pl.String)) == found[0]).all()


def test_tags_of_text_go_and_others_stay() -> None:
    frame = pl.DataFrame({"a": ["x"]})
    node = ["a"] >> AddTags([Tags.TEXT, Tags.ITEM]) >> TextEmbedding(2)
    assert Workflow(node).fit(frame).output_schema["a"].tags == {Tags.EMBEDDING, Tags.ITEM}


def by_hand(text: str, dim: int) -> list[float]:
    sums = [0] * dim
    for word in text.lower().split():
        marked = f"<{word}>"
        parts = [marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)]
        for feature in [marked, *(part for part in parts if part != marked)]:
            place, sign = divmod(int(bucket(np.array([zlib.crc32(feature.encode())], np.uint64), 2 * dim)[0]), 2)
            sums[place] += 2 * sign - 1
    length = math.sqrt(sum(number**2 for number in sums)) or 1
    return [number / length for number in sums]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts=st.lists(st.text("abcßéЖ漢1_ ", max_size=12), min_size=1, max_size=6), dim=st.integers(1, 9))
def test_vectors_are_signed_hashes_of_words_and_their_parts(texts, dim) -> None:
    assert vectors(TextEmbedding(dim), texts) == pytest.approx(
        np.array([by_hand(text, dim) for text in texts]), abs=1e-6
    )


def test_an_encoder_gets_distinct_texts_and_its_vectors_are_kept(tmp_path) -> None:
    seen = []

    def encoder(texts: list[str]) -> list[list[float]]:
        seen.append(texts)
        return [[len(text), 0.5] for text in texts]

    workflow, found = fitted(TextEmbedding(2, encoder), ["ab", None, "ab", "abc"])
    assert found.to_list() == [[2, 0.5], [0, 0], [2, 0.5], [3, 0.5]]
    assert {text for texts in seen for text in texts} == {"ab", "abc"}
    assert all(len(set(texts)) == len(texts) for texts in seen)
    with pytest.raises(NotSavableError, match=r"'encoder' of TextEmbedding is .*, which a folder cannot hold"):
        workflow.save(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_an_encoder_of_another_width_is_refused() -> None:
    with pytest.raises(DataError, match=r"the encoder gave an array of shape \[1, 3\] for 1 texts, not \[1, 2\]"):
        fitted(TextEmbedding(2, lambda texts: np.zeros((len(texts), 3))), ["x"])


def test_settings_and_columns_that_make_no_vectors_are_refused() -> None:
    for dim in (0, 1.5, True):
        with pytest.raises(SettingError, match=f"TextEmbedding: dim={dim} is not a whole number of at least 1"):
            TextEmbedding(dim)
    with pytest.raises(SettingError, match="TextEmbedding: encoder='bert' is not a function of a list of texts"):
        TextEmbedding(encoder="bert")
    with pytest.raises(SettingError, match="TextEmbedding: the column 'a' holds int64, not text"):
        fitted(TextEmbedding(), [1], pl.Int64)


def test_more_texts_than_are_hashed_at_once_and_none() -> None:
    texts = [f"word{i % 7} {i}" for i in range(9000)]
    found = vectors(TextEmbedding(4), texts)
    assert (found[5000:5003] == vectors(TextEmbedding(4), texts[5000:5003])).all()
    workflow, _ = fitted(TextEmbedding(4), ["x"])
    assert workflow.transform(pl.DataFrame(schema={"a": pl.String})).schema == {"a": pl.Array(pl.Float32, 4)}
