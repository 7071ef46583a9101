"""Builds KV cubes in processes forked from one that has loaded torch and the model already.

One JSON object a line comes in on stdin: folder, failpoint, and texts. The child writes the id of each cube to the file
`told` after its build has returned; the parent answers with one line, the status that the child ended with.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch

from engramos.engines.transformers import Transformers
from engramos.memory import MemoryOS
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


def build(engine: Transformers, folder: str, told: str, texts: list[str], failpoint: str | None) -> None:
    """Build a cube of each text, and of a memory, and say so; drop the first one at the end."""
    with MemoryOS.open(folder, embedder="hashing", failpoint=failpoint) as memory, memory.kv(engine) as kv:
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        first = None
        for text in texts:
            built = kv.build(text)
            first = first or built.id
            os.write(descriptor, f"built {built.id}\n".encode())
            (source,) = memory.add(f"source {text}").cube_ids
            os.write(descriptor, f"built {kv.promote([source]).id}\n".encode())
        os.write(descriptor, f"drops {first}\n".encode())
        kv.drop(first)
        os.write(descriptor, f"dropped {first}\n".encode())


def serve() -> None:
    """Fork a child for each line until stdin ends; lines that come as a list run side by side."""
    engine = Transformers.of(tiny_model(), tiny_tokenizer(), weights="weights-1")
    for line in sys.stdin:
        children = []
        for task in json.loads(line):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    build(engine, **task)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                    Path(task["told"]).with_suffix(".error").write_text(traceback.format_exc())
                finally:
                    os._exit(code)
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


if __name__ == "__main__":
    serve()
