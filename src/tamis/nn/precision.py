"""Which device and which precision to compute with."""

from __future__ import annotations

import torch

from tamis.errors import SettingError, UnknownNameError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def chosen_device(device: str = "auto") -> torch.device:
    """The named device; `"auto"` is the GPU where there is one.

    Raises:
        SettingError: a GPU is asked for and there is none, or no device has this name.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError(f"device: {device!r} is asked for, but torch sees no GPU. Use 'auto' or 'cpu'.")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise SettingError(f"device: {device!r} is none that torch knows. Use 'auto', 'cpu' or 'cuda'.") from error


def chosen_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products; `"auto"` is bfloat16 where the processor multiplies it fast, else float32.

    Raises:
        UnknownNameError: no precision of this name.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise UnknownNameError(precision, ["auto", *PRECISIONS], where="compile", what="precision")
        return PRECISIONS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    # torch names these two with an underscore; where a version lacks them the safe answer is no
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False
