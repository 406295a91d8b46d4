"""The functions of a scoring script, without running it."""

import sys

import pytest

from rollway.spec import missing_functions

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INIT = "def init(): pass\n"


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("", ("init", "run")),
        (INIT, ("run",)),
        (f"{INIT}def run(data): return data\n", ()),
        (f"{INIT}async def run(data): return data\n", ()),
        (f"{INIT}run = print\n", ()),
        (f"{INIT}run: object = print\n", ()),
        (f"{INIT}other, run = 1, 2\n", ()),
        (f"{INIT}class run: pass\n", ()),
        (f"{INIT}import run\n", ()),
        (f"{INIT}import run.fast\n", ()),
        (f"{INIT}from .model import predict as run\n", ()),
        ("from model import init, run\n", ()),
        ("from model import *\n", ()),
        (f"{INIT}from model import run as predict\n", ("run",)),
        (f"{INIT}import model.run\n", ("run",)),
        (f"{INIT}if True:\n    def run(data): pass\n", ()),
        (f"{INIT}try:\n    from fast import run\nexcept ImportError:\n    run = None\n", ()),
        (f"{INIT}with open('x') as run: pass\n", ()),
        (f"{INIT}@decorated\ndef run(data): pass\n", ()),
        ("def init():\n    global run\n    run = print\n", ()),
        (f"{INIT}class Model:\n    def run(self): pass\n", ("run",)),
        (f"{INIT}def helper():\n    def run(): pass\n", ("run",)),
        (f"{INIT}def helper():\n    run = 1\n", ("run",)),
        (f"{INIT}print(run)\n", ("run",)),
        (f"{INIT}model.run = 1\n", ("run",)),
        (f"{INIT}# def run(data)\n", ("run",)),
    ],
)
def test_whatever_gives_the_module_the_name_counts(source: str, missing: tuple[str, ...]) -> None:
    assert missing_functions(source.encode()) == missing


def test_the_encoding_of_the_file_counts() -> None:
    run = "def run(größe): pass\n"

    assert missing_functions(b"\xef\xbb\xbf" + f"{INIT}{run}".encode()) == ()
    assert missing_functions(f"# coding: latin-1\n{INIT}{run}".encode("latin-1")) == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"x = 1\ndef run(data:\n", rf"is not valid Python {VERSION}: '\(' was never closed \(line 2, column 8\)"),
        (b"def run(data)\n    pass\n", rf"is not valid Python {VERSION}: expected ':' \(line 1, column 14\)"),
        (b"plumb() |>\n  pr_run()\n", rf"is not valid Python {VERSION}: invalid syntax"),
        (b"x = '\xff'\n", rf"is not valid Python {VERSION}: "),
        (b"x = 1\0\n", "null byte"),
        (b"(" * 10_000, rf"Python {VERSION}: "),
    ],
    ids=["open bracket", "no colon", "R", "encoding", "null byte", "brackets"],
)
def test_a_syntax_error_is_named_with_its_line(source: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        missing_functions(source)
