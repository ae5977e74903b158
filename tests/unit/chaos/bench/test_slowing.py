"""A process that is given a share of its time gets no more, and all of it afterwards."""

import subprocess
import sys
import time

from chaos.bench.process_facts import cpu_seconds
from chaos.bench.slowing import slowed
from chaos.process import process_state


def test_a_busy_process_gets_its_share() -> None:
    """Of one that would take a whole processor; it runs on in the end."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            with slowed(busy.pid, 0.25):
                while process_state(busy.pid) != "T":
                    time.sleep(0.001)
                used, begun = cpu_seconds(busy.pid), time.monotonic()
                time.sleep(1.0)
                share = (cpu_seconds(busy.pid) - used) / (time.monotonic() - begun)
            assert share < 0.5
            assert process_state(busy.pid) != "T"
        finally:
            busy.kill()
