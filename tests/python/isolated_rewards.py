"""Reward functions that worker processes import: well-behaved ones, and all kinds of others.

They import nothing but the standard library, so that a worker starts at once.
"""

import math
import os
import random
import re
import signal
import sys
import time

HANG = "hang"


def length(completions, **columns):
    return [float(len(text)) for text in completions]


def sevens(completion_ids, completions):
    return [float(ids.count(7)) for ids in completion_ids]


def rows(completions):
    return [len(completions)] * len(completions)


def thread_environment(completions):
    return [float(os.environ.get("OMP_NUM_THREADS", 0))] * len(completions)


def has_torch(completions):
    return [float("torch" in sys.modules or "r1core" in sys.modules)] * len(completions)


def draws(completions):
    return [random.random() for _ in completions]


def scaled(completions, factor=1.0):
    return [factor * len(text) for text in completions]


async def waits(completions):
    import asyncio

    await asyncio.sleep(0)
    return length(completions)


class Scorer:
    @staticmethod
    def half(completions):
        return [0.5] * len(completions)

    def __call__(self, completions):
        return [0.5] * len(completions)


scorer = Scorer()


def does_what_it_reads(completions):
    """Follow the first text that is an order; score the others by their length."""
    for text in completions:
        ORDERS.get(text, lambda: None)()
    return length(completions)


def hangs_on_some(completions):
    for text in completions:
        if len(text) % 3 == 0:
            loop()
    return length(completions)


def loop():
    while True:
        pass


def backtrack():
    re.match(r"(a+)+$", "a" * 60 + "b")


def spawn():
    import subprocess

    subprocess.Popen(["sleep", "301.5"], stdout=subprocess.DEVNULL)


def spawn_and_hang():
    spawn()
    time.sleep(300)


def spawn_and_crash():
    spawn()
    os._exit(3)


ORDERS = {
    HANG: loop,
    "sleep": lambda: time.sleep(300),
    "backtrack": backtrack,
    "power": lambda: 10**10**9,
    "spawn and hang": spawn_and_hang,
    "spawn and crash": spawn_and_crash,
    "exit": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(3),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: [0] * sys.maxsize,
    "forge": lambda: forge(b"\x80\x04not json"),
    "flood": lambda: forge(b"[" * (4 << 20)),
    "nested": lambda: forge(b"[" * 100_000),
}


def forge(payload):
    """Write a reply of one's own to the channel, as a taken-over function would."""
    channel = int(sys.argv[1])
    data = len(payload).to_bytes(8, "big") + payload
    while data:
        data = data[os.write(channel, data) :]
    time.sleep(300)


def noisy(completions):
    print("noise", flush=True)
    os.write(1, b"more noise\n")
    os.write(2, b"and more\n")
    return length(completions)


def raises(completions):
    if "bad" in completions:
        raise KeyError("oops")
    if "worse" in completions:
        raise ValueError("no such answer")
    return length(completions)


RESULTS = {
    "nothing": None,
    "number": 1.0,
    "text": "1",
    "short": [],
    "word": ["good"],
    "inf": [math.inf],
    "huge": [10**400],
    "nan": [math.nan],
    "none": [None],
    "tuple": (2,),
    "bool": [True],
}


def returns(completions):
    [text] = completions
    return RESULTS[text]


def arrays(completions):
    import numpy

    return numpy.array([len(text) for text in completions], dtype=numpy.float32)


def scalars(completions):
    import numpy

    return [numpy.float32(len(text)) for text in completions]


def tensors(completions):
    import torch

    return torch.tensor([len(text) for text in completions])


def slow(completions, seconds):
    time.sleep(max(seconds))
    return length(completions)


def wants_log(completions, log_metric):
    return length(completions)


def takes_anything(completions, **columns):
    return [float(len(columns))] * len(completions)
