"""Model and method as one module, which DistributedDataParallel can wrap."""

from __future__ import annotations

from torch import Tensor, nn

from robustft.methods.protocol import Method, loss_of


class Objective(nn.Module):
    """A module whose forward pass is the method's loss, whichever functions of the model the method calls."""

    def __init__(self, model: nn.Module, method: Method) -> None:
        super().__init__()
        self.model, self._method = model, method

    def forward(self, x: Tensor, x_adv: Tensor, y: Tensor, progress: float = 0.0) -> dict[str, Tensor]:
        """Return the named terms of the loss, scalars, of images x and x_adv (n, C, H, W) and labels y (n,).

        `progress` is the share of training that is done.
        """
        return dict(loss_of(self._method, self.model, x, x_adv, y, progress=progress).terms)  # type: ignore[arg-type]
