import pytest
import torch

from tamis.errors import SettingError, UnknownNameError
from tamis.nn.precision import chosen_device, chosen_precision

CPU = torch.device("cpu")


def test_a_precision_has_a_name() -> None:
    assert chosen_precision("float32", CPU) == torch.float32
    assert chosen_precision("bfloat16", CPU) == torch.bfloat16
    assert chosen_precision("auto", CPU) in (torch.float32, torch.bfloat16)


def test_auto_is_float32_where_the_processor_does_not_multiply_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert chosen_precision("auto", CPU) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert chosen_precision("auto", CPU) == torch.bfloat16


def test_an_unknown_precision_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no precision 'bfloat'\. Did you mean 'bfloat16'\?"):
        chosen_precision("bfloat", CPU)


def test_the_cpu_can_always_be_asked_for() -> None:
    assert chosen_device("cpu") == CPU
    assert chosen_device("auto").type in ("cpu", "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingError, match=r"device: 'cuda:1' is asked for, but torch sees no GPU\. Use 'auto'"):
        chosen_device("cuda:1")


def test_an_unknown_device_is_answered_with_those_there_are() -> None:
    with pytest.raises(SettingError, match=r"device: 'gpu' .*'auto', 'cpu' or 'cuda'"):
        chosen_device("gpu")
