"""The native engine: its kernels against plain twins, its threads, how it is built, and what happens where it can't be."""

import ctypes
import logging
import multiprocessing
import os
import platform
import stat
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm import paths
from lm.edits.trace import TRACE
from lm.engines.native import build, structs
from lm.engines.native.pack import grid8, pack
from tests.unit.lm.test_edits import random_edit

KERNELS = Path(__file__).with_name("kernels.c")
OLDER = ["haswell", pytest.param("x86-64-v2", marks=pytest.mark.slow)]
"""haswell: AVX2; x86-64-v2: plain vectors, which take gcc most of a minute."""
PROCESSORS = ["native", *OLDER] if platform.machine() == "x86_64" else ["native"]


@pytest.fixture(scope="module", params=PROCESSORS)
def kernels(request) -> ctypes.CDLL:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "TUNINGS", ((f"-march={request.param}",),))
        library = build.load(KERNELS)
    library.t_dot.restype = library.t_dot_reference.restype = ctypes.c_float
    return library


def at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def vectors(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Of every size, with zeros, equal numbers and very small ones among them."""
    x = random.normal(0, 10.0 ** random.integers(-6, 4), shape)
    kind = random.integers(5)
    if kind == 0:
        x[...] = 0
    elif kind == 1:
        x[random.random(shape) < 0.7] = 0
    elif kind == 2:
        x[...] = x.flat[0]
    elif kind == 3:
        x *= 1e-25
    return np.ascontiguousarray(x, np.float32)


SIZES = st.integers(1, 20).map(lambda n: 16 * n)
SEEDS = st.integers(0, 2**32)


@given(n=st.integers(1, 200), seed=SEEDS)
@settings(max_examples=80)
def test_sums_and_norms_are_those_of_plain_loops(kernels, n, seed):
    random = np.random.default_rng(seed)
    a, b, weight = (vectors(random, n) for _ in range(3))
    # either order of a sum of n products errs by n roundings at most (Higham, 2002, eq. 3.5)
    bound = (n + 1) * float(np.finfo(np.float32).eps) * float(np.abs(a.astype(float) * b).sum()) + 1e-38
    assert kernels.t_dot(at(a), at(b), n) == pytest.approx(
        kernels.t_dot_reference(at(a), at(b), n), abs=bound
    )
    y, other = b.copy(), b.copy()
    for function, out in ((kernels.t_axpy, y), (kernels.t_axpy_reference, other)):
        function(ctypes.c_float(0.3), at(a), at(out), n)
    np.testing.assert_allclose(y, other, rtol=1e-5, atol=1e-6 * float(np.abs(a).max() + np.abs(b).max()))
    for function, out in ((kernels.t_rms_norm, y), (kernels.t_rms_norm_reference, other)):
        function(at(a), at(weight), ctypes.c_float(1e-5), n, at(out))
    np.testing.assert_allclose(y, other, rtol=1e-5, atol=1e-30)


@given(n=SIZES, seed=SEEDS, scale=st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
@settings(max_examples=40)
def test_swiglu_is_that_of_the_exponential(kernels, n, seed, scale):
    random = np.random.default_rng(seed)
    gate, up = (np.float32(random.normal(0, scale, n)), np.float32(random.normal(size=n)))
    other = gate.copy()
    kernels.t_swiglu(at(gate), at(up), n)
    kernels.t_swiglu_reference(at(other), at(up), n)
    np.testing.assert_allclose(gate, other, rtol=1e-5, atol=1e-6)


@given(groups=st.integers(1, 12), bits=st.sampled_from([4, 8]), seed=SEEDS)
@settings(max_examples=60)
def test_a_row_is_rounded_to_the_nearest_as_by_plain_loops_but_for_ties(kernels, groups, bits, seed):
    k = 32 * groups
    x = vectors(np.random.default_rng(seed), k)
    pairs, others = np.zeros((2, k // 2), np.uint32)
    grid, theirs = np.zeros((2, k // 16), np.float32)
    kernels.t_quantize_row(at(x), k, bits, at(pairs), at(grid))
    kernels.t_quantize_row_reference(at(x), k, bits, at(others), at(theirs))
    codes, their_codes = (part.view(np.int16).astype(int) for part in (pairs, others))
    scale = grid[::2]
    assert np.array_equal(scale, theirs[::2]) and np.abs(codes - their_codes).max() <= 1
    exact = x.astype(float).reshape(-1, 32) / np.where(scale > 0, scale, 1)[:, None]
    for rounded in (codes, their_codes):  # rounding keeps the order, whatever the order of the words
        far = np.abs(np.sort(rounded.reshape(-1, 32)) - np.sort(exact))
        assert far.max() < 0.51
    np.testing.assert_allclose(grid[1::2], grid[::2] * codes.reshape(-1, 32).sum(1), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(kernels, bad):
    x, pairs, grid = np.ones(64, np.float32), np.zeros(32, np.uint32), np.zeros(4, np.float32)
    x[40] = bad
    kernels.t_quantize_row(at(x), 64, 8, at(pairs), at(grid))
    assert np.isfinite(grid[:2]).all() and np.isnan(grid[2:]).all()


@given(
    n=st.integers(1, 150), groups=st.integers(1, 5), bits=st.sampled_from([4, 8]), rows=st.integers(1, 15),
    threads=st.integers(1, 3), biased=st.booleans(), seed=SEEDS,
)  # fmt: skip
@settings(max_examples=60)
def test_products_are_those_of_plain_loops(kernels, n, groups, bits, rows, threads, biased, seed):
    random, k, padded = np.random.default_rng(seed), 32 * groups, -(-n // 16) * 16
    if bits == 8:
        weights = pack(*grid8(np.float32(random.normal(size=(n, k)))))
    else:
        scale, least = np.float16(random.random((2, n, groups)))
        weights = pack(random.integers(0, 16, (n, k), dtype=np.uint8), scale, least, 4)
    bias = torch.randn(n) if biased else None
    linear, x = structs.linear(weights, bias), vectors(random, rows, k)
    y, other = np.zeros((2, rows, padded), np.float32)
    pairs, grid = np.zeros((rows, k // 2), np.uint32), np.zeros((rows, k // 16), np.float32)
    kernels.t_matmul(ctypes.byref(linear), at(x), rows, at(pairs), at(grid), at(y), padded, threads)
    kernels.t_matmul_reference(ctypes.byref(linear), at(x), rows, at(other), padded)
    bound = 1e-5 * k * (float(np.abs(x).max()) + 1e-30) * (20 if bits == 4 else 4)
    np.testing.assert_allclose(y[:, :n], other[:, :n], rtol=1e-4, atol=bound)


@given(
    count=st.integers(1, 90), before=st.integers(0, 20), heads=st.integers(1, 4), hw=st.sampled_from([16, 64, 80, 128]), seed=SEEDS
)  # fmt: skip
@settings(max_examples=60)
def test_attention_is_that_of_plain_loops(kernels, count, before, heads, hw, seed):
    random, padded, start = np.random.default_rng(seed), -(-count // 16) * 16, min(before, count - 1)
    q = np.float32(random.normal(size=(heads, hw)) * 3)
    k, v = random.integers(-32767, 32768, (2, padded, hw)).astype(np.int16)
    scales = np.float32(random.random((2, padded)) / 32767)
    scores, out, other = (
        np.zeros((4, padded), np.float32),
        np.zeros((heads, hw), np.float32),
        np.zeros((heads, hw), np.float32),
    )
    parts = (at(q), at(k), at(v), at(scales[0]), at(scales[1]), start, count, hw, heads)
    kernels.t_attention(*parts, at(scores), padded, at(out))
    kernels.t_attention_reference(*parts, at(other))
    np.testing.assert_allclose(out, other, rtol=1e-4, atol=2e-5)


@given(seed=SEEDS, fixed=st.booleans(), cap=st.sampled_from([None, 1e-3, 0.2, 5.0]), start=st.integers(0, 2))
@settings(max_examples=150)
def test_edits_in_c_are_those_in_pytorch(kernels, seed, fixed, cap, start):
    edit, random = random_edit(seed, fixed=fixed, cap=cap), np.random.default_rng(seed)
    x = np.float32(random.normal(size=edit.read.shape[1]) * 3)
    expected, numbers = edit.apply(torch.from_numpy(x.copy())[None], torch.tensor([start <= 1]))
    trace, keep = np.zeros(1, TRACE), []
    table = structs.row_edit(edit, 0, keep)
    table.start = start
    kernels.t_edit(ctypes.byref(table), at(x), len(x), 1, at(trace))
    theirs = numbers.numpy().view(TRACE)[0]
    for name in ("z", "norm", "outcome"):
        np.testing.assert_allclose(trace[name][0], theirs[name][0], rtol=2e-3, atol=2e-3)
    sizes = [np.abs(each["eps"]).sum() for each in (trace[0], theirs[0])]
    np.testing.assert_allclose(
        *sizes, rtol=2e-3, atol=2e-3
    )  # directions may be equal: either is the least push
    np.testing.assert_allclose(x, expected[0].numpy(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_thread_works_once_a_job_and_jobs_are_whole(kernels, threads):
    times, jobs = np.zeros(8, np.int32), 300
    assert kernels.t_threads(threads, jobs, at(times)) == 0
    expected = [sum(me < (threads if i % 3 else 1 + i % threads) for i in range(jobs)) for me in range(8)]
    assert times.tolist() == expected


def test_callers_of_several_threads_take_turns(kernels):
    bad: list[int] = []
    callers = [
        threading.Thread(target=lambda: bad.append(kernels.t_threads(3, 100, at(np.zeros(8, np.int32))))) for _ in range(4)
    ]  # fmt: skip
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert bad == [0, 0, 0, 0]


def test_a_forked_child_has_threads_of_its_own(kernels):
    assert kernels.t_threads(3, 10, at(np.zeros(8, np.int32))) == 0
    child = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(kernels.t_threads(3, 10, at(np.zeros(8, np.int32))))
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("name", structs.STRUCTS)
def test_structures_are_as_large_in_c_as_in_python(name, monkeypatch):
    structs.check_sizes(build.library())
    monkeypatch.setitem(structs.STRUCTS, name, structs.STRUCTS[name] + 8)
    with pytest.raises(RuntimeError, match=f"{name} has .* bytes in the compiled engine"):
        structs.check_sizes(build.library())


# ---- building


def refusing(folder: Path, *refused: str) -> Path:
    """A compiler that refuses some options, and counts its calls."""
    real = build.compiler()
    script = folder / "cc"
    cases = "".join(f'case " $* " in *" {option} "*) echo "error: unknown argument {option}" >&2; exit 1;; esac\n' for option in refused)  # fmt: skip
    script.write_text(f'#!/bin/sh\necho call >> "{folder}/calls"\n{cases}exec {real} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def calls(folder: Path) -> int:
    path = folder / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A C file that is quickly built, and a cache of its own."""
    source = tmp_path / "small.c"
    source.write_text("int answer(void) { return 42; }\n")
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    return source


@pytest.mark.parametrize("refused", [(), ("-march=native",), ("-march=native", "-mcpu=native")])
def test_a_compiler_that_refuses_a_tuning_is_given_the_next(small, tmp_path, monkeypatch, refused):
    monkeypatch.setenv("CC", str(refusing(tmp_path, *refused)))
    for _ in range(2):
        assert build.load(small).answer() == 42
        assert calls(tmp_path) == len(refused) + 1


def test_a_failure_is_kept_until_the_compiler_or_the_source_changes(small, tmp_path, monkeypatch):
    small.write_text("this is no C\n")
    monkeypatch.setenv("CC", str(refusing(tmp_path)))
    for _ in range(2):
        with pytest.raises(
            build.NoCompiler, match="cannot build the fast engine.*error.*repair it, or set CC"
        ):
            build.load(small)
        assert calls(tmp_path) == len(build.TUNINGS)
    script = tmp_path / "cc"
    os.utime(script, (1, 1))
    with pytest.raises(build.NoCompiler):
        build.load(small)
    assert calls(tmp_path) == 2 * len(build.TUNINGS)
    small.write_text("int answer(void) { return 43; }\n")
    assert build.load(small).answer() == 43


def test_a_full_disk_is_not_kept(small, tmp_path, monkeypatch):
    script = tmp_path / "cc"
    script.write_text(
        f'#!/bin/sh\necho call >> "{tmp_path}/calls"\necho "error: No space left on device" >&2\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    for times in (1, 2):
        with pytest.raises(build.NoCompiler, match="No space left"):
            build.load(small)
        assert calls(tmp_path) == times * len(build.TUNINGS)


def test_a_compiler_that_writes_nothing_leaves_no_library(small, tmp_path, monkeypatch):
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    for _ in range(2):
        with pytest.raises(build.NoCompiler, match="cannot build the fast engine"):
            build.load(small)


def test_a_cache_where_programs_may_not_run_is_no_compiler(small, monkeypatch):
    def refuse(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(build.ctypes, "CDLL", refuse)
    with pytest.raises(build.NoCompiler, match="failed to map segment.*set TRADEWIND_CACHE"):
        build.load(small)


def test_a_folder_mounted_noexec_is_no_compiler(small, tmp_path, monkeypatch):
    mount = tmp_path / "noexec"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", str(mount)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount")
    try:
        monkeypatch.setenv("TRADEWIND_CACHE", str(mount))
        with pytest.raises(build.NoCompiler, match="set TRADEWIND_CACHE"):
            build.load(small)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_folder_mounted_read_only_is_no_compiler(small, tmp_path, monkeypatch):
    mount = tmp_path / "read-only"
    (mount / "native").mkdir(parents=True)
    commands = (["mount", "--bind", mount, mount], ["mount", "-o", "remount,ro,bind", mount])
    if any(subprocess.run(command, capture_output=True).returncode for command in commands):
        pytest.skip("needs the right to mount")
    try:
        monkeypatch.setenv("TRADEWIND_CACHE", str(mount))
        with pytest.raises(build.NoCompiler, match="cannot build the fast engine"):
            build.load(small)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_no_compiler_is_told(small, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(build.NoCompiler, match="No C compiler is on the PATH: install gcc or clang"):
        build.load(small)


# ---- a user without a home


@pytest.mark.parametrize("home", ["file", "none"])
def test_without_a_home_a_temporary_folder_serves_and_one_warning_tells(home, tmp_path, monkeypatch, caplog):
    for name in ("TRADEWIND_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home == "file":
        (tmp_path / "home").write_text("not a folder")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
    else:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory.")))  # fmt: skip
    monkeypatch.setattr(paths.tempfile, "tempdir", str(tmp_path))
    paths._users_cache.cache_clear()
    with caplog.at_level(logging.WARNING, "lm.paths"):
        folder = paths.cache_folder("models")
        assert folder == paths.cache_folder("models") and folder.is_dir() and tmp_path in folder.parents
    paths._users_cache.cache_clear()
    [record] = caplog.records
    assert "set TRADEWIND_CACHE" in record.getMessage()
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_temporary_folder_that_others_may_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.tempfile, "tempdir", str(tmp_path))
    trap = tmp_path / f"tradewind-{os.getuid()}"
    trap.mkdir()
    trap.chmod(0o777)
    assert paths.temporary() != trap and tmp_path in paths.temporary().parents
