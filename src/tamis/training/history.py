"""What training measured, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """Figures per epoch by name: `loss`, `rows_per_s`, and with validation data `val_...`."""

    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def num_epochs(self) -> int:
        """Epochs that were finished."""
        return len(self.history.get("loss", []))

    def add(self, figures: dict[str, float]) -> None:
        """Append one epoch's figures."""
        for name, value in figures.items():
            self.history.setdefault(name, []).append(float(value))

    def last(self) -> dict[str, float]:
        """The latest epoch's figures."""
        return {name: values[-1] for name, values in self.history.items()}

    def __repr__(self) -> str:
        lines = [f"History of {self.num_epochs} epochs"]
        for name, values in self.history.items():
            lines.append(f"  {name}: " + "  ".join(f"{value:.4g}" for value in values))
        return "\n".join(lines)
