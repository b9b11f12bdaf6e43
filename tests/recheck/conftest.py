"""A recheck is tested on a whole small run, and on copies of it that a forger has made to fit."""

from tests.toy_run import copied, finished, run_folder

__all__ = ["copied", "finished", "run_folder"]
