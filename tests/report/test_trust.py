from robustft.report.trust import REASONS, SIGNS, beside, failed_reasons, found, headline


def test_a_share_has_the_limit_of_an_exact_test_and_another_value_its_own():
    (share,) = found({"no_gradient": 0.2}, images=10)
    assert share.ok  # P(more than 2 of 10 | 0.05) = 0.0115, so 3 are allowed at an error of 0.01
    assert share.limit == 0.3
    (exact,) = found({"repeat_difference": 1e-9, "unknown": 5}, images=10)
    assert not exact.ok


def test_the_first_reason_explains_the_others():
    findings = found({"no_gradient": 1.0, "probabilities": 1.0, "abstains": 0.0}, images=100)
    assert failed_reasons(findings) == ["probabilities", "no_gradient"]
    said = headline(findings, autoattack=True)
    assert said.startswith("Do not trust these numbers yet: the model ends in a softmax")
    assert "1 more reason below" in said


def test_without_a_failure_it_says_what_was_not_run():
    good = found({"abstains": 0.0}, images=10)
    assert "AutoAttack was not run" in headline(good, autoattack=False)
    assert headline(good, autoattack=True).startswith("Nothing speaks against")


def test_every_check_has_a_reason_and_every_reason_a_check():
    assert {sign.reason for sign in SIGNS.values()} == set(REASONS)


def test_a_check_between_attacks_keeps_its_limit():
    entry = {"check": "not_weaker_than_pgd20", "value": 0.2, "limit": 0.1, "ok": False, "text": "left correct"}
    one = beside(entry, "autoattack-linf-1_10")
    assert (one.ok, one.reason, one.meaning) == (False, "masked_gradients", "left correct")
    assert one.as_json()["to_do"] == REASONS["masked_gradients"].to_do
