"""Numbers of other units than images in [0, 1] are refused while planning, with what was probably meant."""

import pytest

from robustft.config.load import Config
from robustft.config.units import fault_of_eps, fault_of_normalisation, fault_of_step
from robustft.errors import ConfigError
from robustft.plan import Plan
from tests import toy_config
from tests.toy_config import paper


@pytest.fixture
def edited(tmp_path):
    """Read the small configuration after one text of a file is replaced."""

    def read(file, old, new):
        toy_config.write(tmp_path / "config")
        path = tmp_path / "config" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return Config(folder=tmp_path / "config")

    return read


@pytest.mark.parametrize(
    ("eps", "meant"), [("8", "8/255"), ("255/8", "8/255"), ("255", "1/255"), ("300", None), ("1:30", "1/30")]
)
def test_an_eps_of_grey_levels_is_refused_with_the_fraction_that_was_meant(edited, eps, meant):
    """Each was planned as an Linf ball that holds every image; 1:30 is the number 90 in YAML."""
    with pytest.raises(ConfigError) as error:
        edited("scales/small.yaml", "eps: 1/5", f"eps: {eps}")
    assert ("did you mean" in str(error.value)) == bool(meant)
    assert meant is None or f"did you mean {meant}?" in str(error.value)
    assert "scales/small.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"scale": {"papers": {"toy": {"threat": {"eps": "8"}}}}}, "papers.toy.threat.eps"),
        ({"paper": paper(evaluations={"robustness": {"threat": {"eps": "8"}}})}, "evaluations.robustness.threat.eps"),
    ],
)
def test_an_eps_in_a_layer_without_a_norm_is_judged_by_the_norm_below_it(tmp_path, change, place):
    config = toy_config.write(tmp_path / "config", **change)
    with pytest.raises(ConfigError, match=rf"{place}: eps 8 [\s\S]*did you mean 8/255\?"):
        Plan(config)


def test_an_l2_eps_is_judged_by_the_size_of_the_images(tmp_path):
    attack = {"attacks": {"pgd2": {"threat": {"norm": "l2", "eps": "8"}}}}
    both = paper(evaluations={"robustness": {"attacks": ["fgsm", "pgd2"]}})
    Plan(toy_config.write(tmp_path / "config", attacks=attack, paper=both))
    attack["attacks"]["pgd2"]["threat"]["eps"] = "9"
    with pytest.raises(ConfigError, match="l2 distances are at most 8, the distance of a black and a white image"):
        Plan(toy_config.write(tmp_path / "config", attacks=attack, paper=both))


def test_the_widest_ball_of_each_norm():
    shape = (3, 4, 4)
    assert [fault_of_eps("linf", eps) is None for eps in ("0", "8/255", "1", "256/255")] == [True, True, True, False]
    assert [fault_of_eps("l2", eps, shape) is None for eps in ("6", "7")] == [True, False]  # sqrt(48) = 6.93
    assert [fault_of_eps("l1", eps, shape) is None for eps in ("48", "49")] == [True, False]
    assert fault_of_eps("l2", "500") is None, "without a shape nothing is known of it"


@pytest.mark.parametrize("file", ["scales/small.yaml", "attacks.yaml"])
def test_a_step_that_is_no_fraction_of_eps_is_refused(edited, file):
    """`step_over_eps: 127` was planned: each step left the ball and came back to a corner of it."""
    with pytest.raises(ConfigError, match=r"step_over_eps 127 is the step as a fraction of eps.*did you mean 1/127\?"):
        edited(file, "step_over_eps: 1", "step_over_eps: 127")
    assert fault_of_step("2") is fault_of_step("1/255") is None
    assert "above 0" in fault_of_step("0")


def test_a_normalisation_of_grey_levels_is_refused(edited):
    """A mean of 78 made every input of the network the same large negative number."""
    with pytest.raises(ConfigError, match=r"backbones.tiny.normalisation: mean 78 [\s\S]*mean 0.306, which is 78/255"):
        edited("backbones.yaml", "- 0.3", "- 78")
    with pytest.raises(ConfigError, match=r"std 58 [\s\S]*did you mean 0.227"):
        edited("backbones.yaml", "- 0.4", "- 58")
    with pytest.raises(ConfigError, match="2 means and 1 standard deviations"):
        edited("backbones.yaml", "- 0.3", "- 0.3\n      - 0.3")
    assert fault_of_normalisation([0.0, 0.5], [1.0, 0.2]) is None


@pytest.mark.parametrize("levels", [1, 15, 255])
def test_levels_that_are_not_full_white_of_the_loaders_pixels_are_refused(edited, levels):
    """With `levels: 1` the digits' pixels of 16 became images of 16."""
    with pytest.raises(ConfigError, match=r"sources.digits.levels: full white[\s\S]*set levels to 16"):
        edited("datasets.yaml", "levels: 16", f"levels: {levels}")


@pytest.mark.parametrize(
    ("value", "message"), [("1:30", "is the number 90 in YAML"), ("1:30.5", "is the number 90.5"), ("010", "number 8")]
)
def test_a_number_that_yaml_reads_as_another_one_is_refused(edited, value, message):
    with pytest.raises(ConfigError, match=rf"{value} .*{message}[\s\S]*line \d+"):
        edited("scales/small.yaml", "lr: 0.05", f"lr: {value}")
