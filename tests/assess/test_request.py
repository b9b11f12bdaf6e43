from fractions import Fraction

import pytest

from robustft.assess.request import attack_entries, check_norm, default_folder, radii
from robustft.errors import RobustftError


def test_one_eps_a_list_and_a_range():
    assert radii("8/255") == (Fraction(8, 255),)
    assert radii(8 / 255) == (Fraction(8, 255),)
    assert radii("1/2,1") == (Fraction(1, 2), Fraction(1))
    assert radii("0/255..3/255") == (Fraction(1, 255), Fraction(2, 255), Fraction(3, 255))
    assert radii(["1/4", 0.5, "1/4"]) == (Fraction(1, 4), Fraction(1, 2))


@pytest.mark.parametrize("text", ["eight", "1/0", "0", "-1/255", "1/255..1/4", "3/255..1/255", "1/1000..999/1000"])
def test_no_eps_is_refused(text):
    with pytest.raises(RobustftError):
        radii(text)


def test_attacks_come_from_the_catalogue_with_the_clean_one_first():
    assert [one["name"] for one in attack_entries(["pgd20", "autoattack"])] == ["clean", "pgd20", "autoattack"]
    with pytest.raises(RobustftError, match="did you mean 'pgd20'"):
        attack_entries(["pgd21"])


def test_norms():
    assert check_norm("l2", ["autoattack"]) == "l2"
    with pytest.raises(RobustftError, match="did you mean 'linf'"):
        check_norm("linff", [])
    with pytest.raises(RobustftError, match="linf and l2"):
        check_norm("l1", ["autoattack"])


def test_the_default_folder_has_no_odd_names():
    assert default_folder("timm:resnet18", "my pictures/").as_posix() == "evaluations/timm_resnet18-my_pictures"
