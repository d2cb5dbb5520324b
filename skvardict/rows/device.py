"""Turn the `device` parameter into a torch device, without touching CUDA before it is needed."""

import torch


def resolve_device(device="auto", X=None) -> torch.device:
    """Return the device to compute on: that of a tensor `X`, else the one asked for, else the best there is.

    Raises
    ------
    ValueError
        If a device was asked for that this machine does not have.
    """
    if isinstance(X, torch.Tensor):
        return X.device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a torch device. Use 'auto', 'cpu', 'cuda' or 'cuda:<index>'."
        ) from error
    if resolved.type == "cuda":
        _require_cuda(resolved)
    return resolved


def _require_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"device='{device}' was asked for, but torch {torch.__version__} sees no CUDA device here; "
            "available: 'cpu'. Use device='auto' to take what is there."
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ValueError(
            f"device='{device}' was asked for, but there are {count} CUDA devices "
            f"(cuda:0 to cuda:{count - 1}). Use one of these, or device='auto'."
        )
