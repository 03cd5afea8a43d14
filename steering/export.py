"""Vectors for other programs: plain safetensors and llama.cpp control vectors."""

from pathlib import Path

from safetensors.torch import save_file

from steering.cav import CAV


def export(cav: CAV, path: Path | str, *, method: str = "gcav") -> Path:
    """Writes unit directions to `path`: .gguf as a llama.cpp control vector, .safetensors as one [width]
    tensor a block.

    llama.cpp adds "direction.l" to the output of block l, from l = 1 on; it knows fixed strengths only.
    """
    path = Path(path)
    directions = cav.diffmean if method == "diffmean" else cav.direction
    if path.suffix == ".safetensors":
        about = {"model": cav.model, "model_hash": cav.model_hash, "concept": cav.concept, "method": method}
        save_file({f"direction.{layer}": row.clone() for layer, row in enumerate(directions)}, path, about)
    elif path.suffix == ".gguf":
        from gguf import GGUFWriter

        writer = GGUFWriter(path, "controlvector")
        writer.add_string("controlvector.model_hint", "llama")
        writer.add_uint32("controlvector.layer_count", len(directions) - 1)
        for layer, row in enumerate(directions[1:], 1):
            writer.add_tensor(f"direction.{layer}", row.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    else:
        raise ValueError(f"path is {path.name}: give a name that ends in .gguf or .safetensors")
    return path
