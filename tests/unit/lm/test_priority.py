"""Decoding beside other work of the machine."""

import subprocess
import sys

import pytest

from lm.scheduler import GIVING_WAY

SCRIPT = """
import os, threading
from lm import Row, Sampling, load
from tests.tiny import tiny

def threads():
    return {int(id) for id in os.listdir("/proc/self/task")}

model = load(str(tiny("llama")))
own, before = os.getpriority(os.PRIO_PROCESS, 0), threads()
model.give_way()
row = Row(model.text_ids("A tale of two"), Sampling(max_new_tokens=4))
assert len(model.generate([row])[0].ids) == 4
decoding = {os.getpriority(os.PRIO_PROCESS, id) for id in threads() - before}
print(own, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), *decoding)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process has one priority")
@pytest.mark.slow
def test_decoding_gives_way_and_nothing_else_does():
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    own, asking, *decoding = map(int, told.stdout.split())
    assert asking == own and decoding == [min(19, own + GIVING_WAY)]
