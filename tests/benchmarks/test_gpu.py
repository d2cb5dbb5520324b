import pandas as pd
import pytest
import torch

from benchmarks import gpu
from benchmarks._pretend_gpu import pretend_gpu

TINY = ["--data", "digits", "--rows", "60", "--components", "6", "--hidden", "8", "--long-epochs", "2"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_command_says_so(tmp_path):
    with pytest.raises(SystemExit, match=r"needs a CUDA device.*--device cpu"):
        gpu.main(["--results", str(tmp_path)])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_row_for_every_measure(device, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "BATCH_SIZE", 30)
    families = ["VDL", "SparseVAE"]
    arguments = [*TINY, "--device", device, "--results", str(tmp_path), "--families", *families]
    if device == "cuda":
        with pretend_gpu():
            monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a pretend GPU")
            gpu.main(arguments)
    else:
        gpu.main(arguments)
    table = pd.read_csv(tmp_path / "gpu.csv")
    assert table["what"].tolist() == ["epoch", "epoch", "fit", "grid", "plain loop", "plain loop"]
    assert (table["seconds"] > 0).all()
    assert (table["device"] == device).all()
