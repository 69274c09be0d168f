"""Which optimizer moves which weights."""

import json

import pytest

from ranking_world import SCHEMA
from tamis.errors import SettingError, UnknownNameError
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.mlp import MLPBlock
from tamis.training.ftrl import FTRL
from tamis.training.optimizer_groups import (
    OptimizerChoice,
    assigned_optimizers,
    chosen_optimizer,
    describe_choice,
    described_choice,
)
from tamis.training.optimizers import SGD, Adagrad, Adam

NETWORK = WideAndDeepModel(SCHEMA, MLPBlock([4])).network
TABLES = ["tables.weights.16", "body.wide.tables.weights.1"]
LAYERS = ["body.wide.numbers", "body.deep.0.weight", "body.deep.0.bias", "heads.linear.weight", "heads.linear.bias"]


def names_by(optimizer: OptimizerChoice) -> dict[object, set[str]]:
    found: dict[object, set[str]] = {}
    for name, settings in assigned_optimizers(NETWORK, optimizer).items():
        found.setdefault(settings, set()).add(name)
    return found


def test_one_optimizer_moves_everything() -> None:
    assert names_by(Adam()) == {Adam(): {*TABLES, *LAYERS}}


def test_tables_and_the_rest_may_have_one_each() -> None:
    assert names_by({"embeddings": Adagrad(), "dense": Adam()}) == {Adagrad(): {*TABLES}, Adam(): {*LAYERS}}


def test_a_part_of_the_network_goes_by_the_start_of_its_names() -> None:
    wide = {"body.wide.tables.weights.1", "body.wide.numbers"}
    for key in ("wide", "body.wide"):
        assert names_by({key: FTRL(), "*": Adam()}) == {FTRL(): wide, Adam(): {*TABLES, *LAYERS} - wide}


def test_longer_starts_win_over_shorter_ones_and_starts_over_words() -> None:
    found = names_by({"deep": SGD(1.0), "deep.0.bias": SGD(2.0), "wide": SGD(3.0), "embeddings": SGD(4.0), "*": Adam()})
    assert found == {
        SGD(1.0): {"body.deep.0.weight"},
        SGD(2.0): {"body.deep.0.bias"},
        SGD(3.0): {"body.wide.tables.weights.1", "body.wide.numbers"},
        SGD(4.0): {"tables.weights.16"},
        Adam(): {"heads.linear.weight", "heads.linear.bias"},
    }


def test_a_start_ends_where_a_name_does() -> None:
    with pytest.raises(UnknownNameError, match=r"compile: there is no part of the network 'wid'\. Did you mean 'wide'"):
        assigned_optimizers(NETWORK, {"wid": SGD(), "*": Adam()})


def test_a_part_that_is_not_there_is_answered_with_what_is() -> None:
    match = r"no part of the network 'crosses'\. There are 'embeddings', 'dense', '\*', 'tables', 'wide', 'deep', 'hea"
    with pytest.raises(UnknownNameError, match=match):
        assigned_optimizers(NETWORK, {"crosses": SGD(), "*": Adam()})


def test_weights_that_no_group_names_are_refused() -> None:
    match = r"compile: no optimizer is given for heads\.linear\.weight, heads\.linear\.bias\. Name their part"
    with pytest.raises(SettingError, match=match):
        assigned_optimizers(NETWORK, {"embeddings": SGD(), "wide": Adam(), "deep": Adam()})


def test_groups_are_chosen_by_name_or_as_they_are() -> None:
    assert chosen_optimizer({"wide": "ftrl", "*": SGD(0.3)}) == {"wide": FTRL(), "*": SGD(0.3)}
    assert chosen_optimizer("sgd", 0.3) == SGD(0.3)
    with pytest.raises(UnknownNameError, match=r"compile: there is no optimizer 'adem'\. Did you mean 'adam'"):
        chosen_optimizer({"*": "adem"})
    with pytest.raises(SettingError, match=r"learning_rate=0\.1 beside optimizers by group\. Set it inside each"):
        chosen_optimizer({"*": "adam"}, 0.1)
    with pytest.raises(SettingError, match=r"compile: the optimizers by group are none\. Name one"):
        chosen_optimizer({})


@pytest.mark.parametrize("choice", [Adam(0.3), FTRL(l1=0.5), {"wide": FTRL(), "*": Adagrad(0.2)}], ids=repr)
def test_a_described_choice_comes_back(choice: OptimizerChoice) -> None:
    assert described_choice(json.loads(json.dumps(describe_choice(choice)))) == choice
