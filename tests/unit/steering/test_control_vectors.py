"""Control vectors of other programs: what goes out comes back, and what does not fit is refused in one sentence."""

import dataclasses
import struct

import numpy as np
import pytest
import torch
from gguf import MODEL_ARCH_NAMES, GGUFReader, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CONFIG_MAPPING

from lm import load
from steering import Library, Plan, PlanError, Target, steer, train
from steering.calibrate import Extent, calibrate, trial
from steering.cav import CAV
from steering.concepts import ConceptError
from steering.control_vectors import export, imported, read_gguf
from steering.edits import calibrated_layers, edits
from tests.tiny import LAYERS, tiny
from tests.unit.steering.conftest import LOUD

PROMPT = "How are you?"


@pytest.fixture(scope="module")
def library() -> Library:
    model = load(str(tiny("llama")))
    made = Library(model, {})
    made.add(LOUD, train(model, LOUD))
    made.add(LOUD, calibrate(made, "loud", extent=Extent(prompts=4, tokens=8), search=False))
    return made


def written(
    path, rows: dict[int, np.ndarray], hint: str = "llama", architecture: str = "controlvector"
) -> bytes:
    """A control vector as repeng and llama.cpp write it."""
    writer = GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", hint)
    writer.add_uint32("controlvector.layer_count", len(rows))
    for layer, row in rows.items():
        writer.add_tensor(f"direction.{layer}", row)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def some(width: int, layers=range(1, LAYERS)) -> dict[int, np.ndarray]:
    dice = np.random.default_rng(0)
    return {layer: dice.normal(size=width).astype(np.float32) for layer in layers}


def test_what_is_exported_comes_back_as_the_same_constant_push(library, tmp_path):
    cav = library.cav("loud")
    curve = cav.calibration.curve("fixed", "amplify")
    path = export(cav, tmp_path / "loud.gguf", method="diffmean", family="llama")
    about = GGUFReader(path)
    assert about.get_field("controlvector.model_hint").contents() == "llama"
    assert about.get_field("tradewind.strength").contents() == pytest.approx(curve.dose(curve.fluent))
    other = library.session()
    other.add(*imported(library.model, path.read_bytes(), "copy"))
    layers = calibrated_layers(cav)
    assert other.cav("copy").layers == tuple(layer for layer in layers if layer)
    plans = [
        Plan((Target(name),), method="fixed", strength=strength, layers=other.cav("copy").layers)
        for name, strength in (("loud", curve.dose(curve.fluent)), ("copy", 1.0))
    ]
    pushes = [[(edit.fixed[:, None] * edit.push).sum(0) for edit in edits(each, other)] for each in plans]
    for ours, theirs in zip(*pushes, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_files_vectors_are_added_as_they_are_at_strength_one(library, tmp_path, kind):
    rows = {layer: row.astype(kind) for layer, row in some(library.model.width).items()}
    own = library.session()
    own.add(*imported(library.model, written(tmp_path / "v.gguf", rows), "v"))
    for edit in edits(Plan((Target("v"),), method="fixed", strength=1.0), own):
        assert torch.allclose(
            edit.fixed @ edit.push, torch.from_numpy(rows[edit.layer].astype(np.float32)), atol=1e-3
        )


@pytest.mark.parametrize("layers", [[1, 2], [2], [0, 1, 2]])
def test_what_is_imported_goes_out_as_it_came(library, tmp_path, layers):
    rows = some(library.model.width, layers)
    _, cav = imported(library.model, written(tmp_path / "v.gguf", rows), "v")
    again = export(cav, tmp_path / "w.gguf", method="diffmean", family="llama").read_bytes()
    _, back = read_gguf(again, "w")
    assert [*back] == [layer for layer in layers if layer]
    for layer, row in back.items():
        np.testing.assert_allclose(row, rows[layer], rtol=1e-5, atol=1e-6)
    if layers[0]:
        _, second = imported(library.model, again, "v")
        for name in ("w", "b", "diffmean", "gap"):
            torch.testing.assert_close(getattr(second, name), getattr(cav, name), rtol=1e-3, atol=1e-5)


def test_a_vector_of_layer_0_alone_has_no_control_vector(library, tmp_path):
    _, cav = imported(library.model, written(tmp_path / "v.gguf", some(library.model.width, [0])), "v")
    with pytest.raises(ValueError, match="v has a direction at layer 0 alone, .*ends in .safetensors"):
        export(cav, tmp_path / "w.gguf")
    assert not (tmp_path / "w.gguf").exists()


def test_an_imported_concept_has_a_gate_a_cost_and_a_place_on_disk(library, tmp_path):
    own = library.session()
    concept, cav = imported(library.model, written(tmp_path / "v.gguf", some(library.model.width)), "v")
    own.add(concept, cav)
    own.add(concept, trial(own, "v"))
    plan = Plan((Target("v"),), budget=own.cav("v").calibration.curve("auto", "amplify").max_budget / 2)
    told = steer(own, PROMPT, plan, max_new_tokens=6, temperature=1.0)
    assert np.isfinite(told["steered"]["trace"]["eps"]).all() and told["steered"]["metrics"]["kl"] > 0
    for p0 in (0.999, 1e-6):
        both = steer(own, PROMPT, Plan((Target("v", p0=p0),), method="gcav"), max_new_tokens=6)
        after = np.array(both["steered"]["trace"]["after"])
        assert (after >= p0 - 1e-3).all()
    own.cav("v").save(tmp_path / "v.safetensors")
    assert CAV.load(tmp_path / "v.safetensors").concept_hash == concept.hash


def test_a_vector_without_some_layers_says_which_it_has(library, tmp_path):
    own = library.session()
    own.add(*imported(library.model, written(tmp_path / "v.gguf", some(library.model.width, [1])), "v"))
    assert [edit.layer for edit in edits(Plan((Target("v"),), method="gcav"), own)] == [1]
    with pytest.raises(
        PlanError, match=r"layer 2, for which the imported v has no direction: give some of 1"
    ):
        edits(Plan((Target("v"),), layers=(1, 2), method="gcav"), own)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"hint": "qwen2"}, "made for a qwen2 model, and .* is a llama"),
        ({"width": 24}, "24 numbers a layer, and .* has"),
        ({"layers": [1, 40]}, "layer 40, and .* has layers 0 to"),
        ({"architecture": "llama"}, "is a GGUF file of llama: give a control vector"),
        ({"scale": 0.0}, "holds no direction"),
        ({"scale": np.nan}, "not finite"),
        ({"layers": []}, "holds no direction"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(library, tmp_path, change, says):
    rows = some(change.get("width", library.model.width), change.get("layers", range(1, LAYERS)))
    rows = {layer: (row * change.get("scale", 1.0)).astype(np.float32) for layer, row in rows.items()}
    more = {name: change[name] for name in ("hint", "architecture") if name in change}
    content = written(tmp_path / "v.gguf", rows, **more)
    with pytest.raises(ConceptError, match=says) as error:
        imported(library.model, content, "v")
    assert str(error.value).endswith(".") and str(error.value).count(". ") == 0


def test_mistral_is_a_llama_to_a_control_vector(library, tmp_path):
    imported(library.model, written(tmp_path / "v.gguf", some(library.model.width), "mistral"), "v")
    imported(library.model, written(tmp_path / "w.gguf", some(library.model.width), ""), "w")


@pytest.mark.parametrize(
    ("family", "hint"),
    [
        ("mixtral", "llama"), ("llama4_text", "llama4"), ("qwen2_moe", "qwen2moe"), ("qwen3_moe", "qwen3moe"), ("qwen3_next", "qwen3next"),
        ("qwen3_5_text", "qwen35"), ("gemma3_text", "gemma3"), ("gemma3", "gemma3_text"), ("gemma4_text", "gemma4"), ("phi", "phi2"),
        ("gpt_oss", "gpt-oss"), ("gpt_neox", "gptneox"), ("gpt_bigcode", "starcoder"), ("cohere", "command-r"), ("olmo3", "olmo2"),
        ("deepseek_v3", "deepseek2"), ("granitemoehybrid", "granitehybrid"), ("falcon_h1", "falcon-h1"), ("lfm2_moe", "lfm2moe"),
    ],
)  # fmt: skip
def test_a_family_has_a_name_of_llama_cpps_own(library, tmp_path, monkeypatch, family, hint):
    assert {family, hint} <= {*CONFIG_MAPPING, *MODEL_ARCH_NAMES.values()}
    monkeypatch.setattr(library.model, "family", family)
    for word in (hint, family):
        imported(library.model, written(tmp_path / "v.gguf", some(library.model.width), word), "v")
    with pytest.raises(ConceptError, match=f"made for a bloom model, and .* is a {family}:"):
        imported(library.model, written(tmp_path / "v.gguf", some(library.model.width), "bloom"), "v")


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_is_refused_and_never_keeps_the_reader_busy(tmp_path_factory, data):
    content = bytearray(written(tmp_path_factory.mktemp("v") / "v.gguf", some(8, [1, 2])))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        fields, rows = read_gguf(bytes(content), "v")
    except ConceptError:
        return
    assert rows and all(np.isfinite(row).all() for row in rows.values())


@pytest.mark.parametrize(
    "tail",
    [
        struct.pack("<IQQ", 3, 2**60, 0),
        struct.pack("<IQQ", 3, 0, 2**60),
        struct.pack("<IQQQ", 3, 0, 1, 2**62),
        struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 0, 2**60),
        struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 9, 5) * 50,
    ],
)
def test_crafted_lengths_are_refused_at_once(tail):
    with pytest.raises(ConceptError, match="no whole GGUF control vector"):
        read_gguf(b"GGUF" + tail, "v")


def test_the_concept_of_a_file_needs_no_texts_and_changes_with_the_file(library, tmp_path):
    one, _ = imported(library.model, written(tmp_path / "v.gguf", some(library.model.width)), "v")
    rows = {layer: 2 * row for layer, row in some(library.model.width).items()}
    other, _ = imported(library.model, written(tmp_path / "w.gguf", rows), "v")
    assert one.positive == () and one.hash != other.hash
    with pytest.raises(ConceptError):
        dataclasses.replace(one, source="")
