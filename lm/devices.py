"""Where models stand: this process's GPU, or the CPU."""

import os

import torch

from lm import zero_gpu


def gpu_here() -> torch.device | None:
    """The GPU of this process, if there is one: its own where `accelerate launch` started several."""
    if zero_gpu.here() or not torch.cuda.is_available():
        return None
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def free_bytes(gpu: torch.device) -> int:
    """Memory of a GPU that nobody holds."""
    return int(torch.cuda.mem_get_info(gpu)[0])


def device_here() -> torch.device:
    """Where another model of this process stands: on its GPU, or the CPU."""
    return gpu_here() or torch.device("cpu")


def placement(gpu: torch.device | None) -> str | dict[str, torch.device] | None:
    """Over all GPUs, as accelerate spreads it; on one where each process holds a copy."""
    if gpu is None:
        return None
    return {"": gpu} if "LOCAL_RANK" in os.environ else "auto"
