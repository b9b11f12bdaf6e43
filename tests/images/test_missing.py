"""A workflow that is to run in images that are not there says so once, before any job."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("e2e_tools", ROOT / "tests" / "e2e" / "conftest.py")
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)


def test_missing_images_are_told_before_any_job_starts(tmp_path):
    """Each job failed with Apptainer's own words, after the retries of each."""
    folder = e2e.copy_checkout(tmp_path / "checkout")
    for sif in folder.glob("docker/**/*.sif"):
        sif.unlink()
    said = e2e.snakemake(folder, "--use-singularity", check=False)
    assert "images that are not there" in said
    assert "docker/train/robustft-train.sif" in said
    assert "make images" in said
    assert "Traceback" not in said
    assert not (folder / "results").exists()
