"""The fuzzers' corpora, kept as text: one input a line, escaped, in corpus/NAME.txt.

corpus.py unpack FOLDER       write every corpus as FOLDER/NAME/*, as libFuzzer reads it
corpus.py pack NAME FOLDER    keep the files of a folder as corpus/NAME.txt
"""

import hashlib
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def escape(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescape(line: str) -> bytes:
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


def unpack(folder: Path) -> None:
    for corpus in CORPUS.glob("*.txt"):
        target = folder / corpus.stem
        target.mkdir(parents=True, exist_ok=True)
        for line in corpus.read_text("ascii").splitlines():
            data = unescape(line)
            (target / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)


def pack(name: str, folder: Path) -> None:
    inputs = {path.read_bytes() for path in folder.iterdir()}
    lines = sorted((escape(data) for data in inputs), key=lambda line: (len(line), line))
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "ascii")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["unpack", folder]:
            unpack(Path(folder))
        case ["pack", name, folder]:
            pack(name, Path(folder))
        case _:
            sys.exit(__doc__)
