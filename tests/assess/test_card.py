from dataclasses import replace

from robustft.assess.card import as_html, as_markdown, as_text
from robustft.assess.results import read_results
from robustft.report.trust import REASONS, found


def test_the_first_line_says_whether_to_trust_and_the_rest_why(made):
    results = read_results(made)
    failed = found({"repeat_difference": 1.0}, images=30)
    wrong = replace(results, findings=[*results.findings, *failed])
    for render in (as_markdown, as_text, as_html):
        assert "Do not trust these numbers yet: the model is random" in render(wrong)
        assert REASONS["randomness"].to_do.split("(")[0] in render(wrong)
        assert "Do not trust" not in render(replace(results, findings=[]))


def test_odd_names_do_not_break_the_page(made):
    results = read_results(made)
    odd = replace(results, index={**results.index, "title": "<script>|x"})
    assert "<script>" not in as_html(odd)
    assert "## Numbers" in as_markdown(odd)
