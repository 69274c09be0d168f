import torch

from tamis.data.batch import Batch


def test_a_batch_counts_its_rows_whatever_it_holds() -> None:
    rows = torch.arange(3)
    lists = {"l__values": torch.arange(9), "l__offsets": torch.tensor([0, 4, 4, 9])}
    assert len(Batch({"a": rows})) == len(Batch(lists)) == len(Batch({}, {"y": rows})) == 3
    assert len(Batch({})) == 0


def test_a_batch_moves_as_a_whole() -> None:
    batch = Batch({"a": torch.arange(3)}, {"y": torch.ones(3)}).to("meta")
    assert batch.features["a"].device.type == batch.targets["y"].device.type == "meta"


def test_rows_are_taken_in_the_order_given_lists_included() -> None:
    offsets = torch.tensor([0, 2, 2, 5])
    batch = Batch({"a": torch.tensor([7, 8, 9]), "l__values": torch.arange(5), "l__offsets": offsets})
    taken = batch.take(torch.tensor([2, 0, 1, 2])).features
    assert taken["a"].tolist() == [9, 7, 8, 9]
    assert taken["l__offsets"].tolist() == [0, 3, 5, 5, 8]
    assert taken["l__values"].tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
