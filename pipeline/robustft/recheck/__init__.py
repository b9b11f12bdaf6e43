"""Doing it again, a little: a verifier draws ledgers and trainings, runs them again and compares.

`draw` chooses them and says what the sample shows, `recorded` reads the results that are checked, `workspace` runs
steps in a folder of the verifier's own, `outcomes` and `accuracy` compare, `recheck` does all of it.
"""

from robustft.recheck.recheck import Limits, recheck

__all__ = ["Limits", "recheck"]
