"""A training that can go on: weights, optimizer, place in the data, random numbers, history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from tamis.errors import FormatError, SettingError
from tamis.folders import read_json, read_manifest, saving, write_json

if TYPE_CHECKING:
    from tamis.training.trainer import Trainer

KIND = "checkpoint"
VERSION = 1


def save_checkpoint(path: str | Path, trainer: Trainer) -> None:
    """Write the trainer's whole state as a folder."""
    place = {
        "loader": trainer.loader.state_dict(),
        "epoch_loss": trainer.epoch_loss,
        "epoch_rows": trainer.epoch_rows,
        "optimizer": repr(trainer.optimizer),
        "horizon": trainer.optimizer.horizon,
        "history": trainer.history.history,
    }
    random = {"torch": torch.get_rng_state(), "negatives": trainer.generator.get_state()}
    device = next(trainer.module.parameters()).device
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    with trainer.optimizer.unaveraged(), saving(path, kind=KIND, version=VERSION) as folder:
        save_file(_contiguous(trainer.module.state_dict()), folder / "weights.safetensors")
        save_file(_contiguous(trainer.optimizer.state()), folder / "optimizer.safetensors")
        save_file(random, folder / "random.safetensors")
        save_file(_contiguous(trainer.best_weights), folder / "best_weights.safetensors")
        write_json(folder / "place.json", place)


def load_checkpoint(path: str | Path, trainer: Trainer) -> None:
    """Bring a new trainer to where the saved one stood.

    Raises:
        FormatError: no checkpoint, or one of another model or optimizer.
        SettingError: it was trained on other data, with other loader settings, or towards another end of its schedule.
    """
    folder = Path(path)
    read_manifest(folder, kind=KIND, version=VERSION)
    place = read_json(folder / "place.json")
    here = repr(trainer.optimizer)
    if place["optimizer"] != here:
        raise FormatError(f"{folder}: it was trained with {place['optimizer']}, not {here}. Compile the model so.")
    trainer.loader.load_state_dict(place["loader"])
    _check_horizon(folder, place.get("horizon"), trainer.optimizer.horizon)
    try:
        trainer.module.load_state_dict(load_file(folder / "weights.safetensors"))
    except RuntimeError as error:
        reason = " ".join(str(error).split())  # torch's message has several lines
        raise FormatError(f"{folder}: its weights are not this model's ({reason}). Build the same model.") from error
    device = next(trainer.module.parameters()).device
    trainer.optimizer.load_state(load_file(folder / "optimizer.safetensors", device=str(device)))
    random = load_file(folder / "random.safetensors")
    torch.set_rng_state(random["torch"])
    trainer.generator.set_state(random["negatives"])
    if device.type == "cuda" and "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], device)
    trainer.best_weights = load_file(folder / "best_weights.safetensors", device=str(device))
    trainer.history.history = place["history"]
    trainer.epoch_loss, trainer.epoch_rows = place["epoch_loss"], place["epoch_rows"]


def _check_horizon(folder: Path, saved: int | None, here: int | None) -> None:
    if saved != here:
        raise SettingError(
            f"{folder}: its schedule was laid out over {saved} steps, but here over {here}, so the learning rates "
            "would differ. Ask for as many epochs as then, or give the schedule its num_steps from the start."
        )


def _contiguous(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
