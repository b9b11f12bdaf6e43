"""Accuracies of a training at its epochs, as the page draws them."""

from robustft.export.curves import training_curve

HEAD = "epoch,loss,clean_validation,robust_validation,clean_test,robust_test\n"


def test_epochs_without_a_measurement_are_gaps_and_what_was_never_measured_is_left_out(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(f"{HEAD}1,2.0,,,,\n2,1.0,0.5,0.25,,0.21\n")
    lines = {"robust validation": [None, 0.25], "robust test": [None, 0.21], "clean validation": [None, 0.5]}
    assert training_curve(path) == {"epochs": [1, 2], "lines": lines}


def test_one_epoch_a_damaged_file_and_a_missing_one_have_no_curve(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(f"{HEAD}1,2.0,0.5,0.5,0.5,0.5\n")
    assert training_curve(path) is None
    path.write_text("epoch,loss\n1,2.0\n2,1.0\n")
    assert training_curve(path) is None
    assert training_curve(tmp_path / "none.csv") is None
