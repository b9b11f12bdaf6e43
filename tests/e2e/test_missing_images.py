"""A workflow whose images are missing says so once, before any job."""


def test_missing_images_are_named_before_any_job_starts(tools, tmp_path):
    """Otherwise each job fails with Apptainer's own message, after all its retries."""
    folder = tools["copy_checkout"](tmp_path / "checkout")
    for sif in folder.glob("docker/**/*.sif"):
        sif.unlink()
    output = tools["snakemake"](folder, "--use-singularity", check=False)
    assert "images that are not there" in output
    assert "docker/train/robustft-train.sif" in output
    assert "make images" in output
    assert "Traceback" not in output
    assert not (folder / "results").exists()
