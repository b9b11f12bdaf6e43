"""What reads finished results is tested on a whole small run."""

from tests.toy_run import copied, finished, paper_scale, run_folder, tampered

__all__ = ["copied", "finished", "paper_scale", "run_folder", "tampered"]
