"""Exports are tested on a whole small run; they read it, and write to other folders."""

from tests.toy_run import copied, finished, paper_scale, run_folder, tampered

__all__ = ["copied", "finished", "paper_scale", "run_folder", "tampered"]
