import pytest
import torch

from robustft.errors import RobustftError
from robustft.models.foreign.normalisation import USUAL, Normalisation, asked, in_file, usual


def test_a_usual_name_or_numbers_can_be_asked_for():
    assert (asked("cifar10").mean, asked("cifar10").std) == USUAL["cifar10"]
    assert asked("0.1,0.2,0.3/1,2,4").std == (1.0, 2.0, 4.0)
    assert "asked for" in str(asked("half"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("imagnet", "did you mean 'imagenet'"), ("0.5", "MEAN/STD"), ("0.1/0", "positive"), ("1,2/1", "each")],
)
def test_another_text_is_refused(text, said):
    with pytest.raises(RobustftError, match=said):
        asked(text)


def test_one_number_is_for_every_channel_and_three_are_for_three():
    assert usual("half", known_from="").for_channels(3).mean == (0.5, 0.5, 0.5)
    with pytest.raises(RobustftError, match="1 channels"):
        usual("imagenet", known_from="").for_channels(1)


def test_a_stored_normaliser_is_read():
    stored = {
        "module.normalizer.new_mean": torch.full((3, 1, 1), 0.5),
        "module.normalizer.new_std": torch.full((3, 1, 1), 0.25),
    }
    assert in_file(stored) == Normalisation((0.5,) * 3, (0.25,) * 3, "stored in the file of weights")
    assert in_file({"a.mean": torch.zeros(3)}) is None
