from robustft.assess.curve import draw_curve
from robustft.assess.results import read_results


def test_the_curve_is_drawn_and_its_bytes_repeat(made, tmp_path):
    numbers = read_results(made).numbers
    draw_curve(numbers, svg=tmp_path / "a.svg", pdf=tmp_path / "a.pdf")
    assert (made / "curve.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
