import torch
from torch import nn

from robustft.models.foreign.text_classifier import ZeroShot


class Clip(nn.Module):
    """Embeds an image as its two pixels, and a text as the numbers of its first two tokens."""

    def __init__(self):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(2.0).log())

    def encode_image(self, x):
        return x.flatten(1)

    def encode_text(self, tokens):
        return torch.tensor([[3.0, 4.0], [1.0, 0.0]])


def test_logits_are_scaled_cosines_by_hand(monkeypatch):
    model = ZeroShot(Clip(), "ViT-B-32")
    model.read(["a photo of a cat.", "a photo of a dog."])
    logits = model(torch.tensor([[[[0.0, 5.0]]]]))
    # Unit vectors: the image (0, 1), the texts (0.6, 0.8) and (1, 0); scale 2.
    assert torch.allclose(logits, torch.tensor([[1.6, 0.0]]))
