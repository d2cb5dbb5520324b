"""Ways to change files: bytes, headers, contents with a right checksum, JSON, archives and arrays."""

import copy
import io
import json
import random
import struct
import zipfile
from functools import cache

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from skvardict.storage import files

HOSTILE = [
    None, True, -1, 0, 1, 2**31, 2**63 - 1, 10**30, -(10**18), 0.5, 1e308, "", "x" * 300, "../../etc/passwd", "cuda:0",
    "builtins.eval", [], {}, [[]] * 50, [1] * 3000, {"array": "../x"}, {"tuple": 3}, {"dict": []}, {"numbers": "x"},
    {"strings": ["a", "b"]}, {"float": "1"}, {"omitted": "builder"}, {"part": {"FISTA": {"max_iter": -3}}},
    {"part": {"ISTA": {}}}, {"part": {"ISTA": {"tol": {"part": {"FISTA": {}}}}}}, {"part": {"os": {}}}, {"part": 1},
    {"part": {"MLP": {"hidden_layer_sizes": [1] * 3000}}},
    {"part": {"Adam": {"schedule": {"part": {"StepDecay": {}}}}}},
    {"device": "meta"}, {"device": "cuda"}, {"float": "nan"}, {"array_of": 1}, "mlp", "lista",
]  # fmt: skip


def mutate_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change bytes, sizes or order; half of the time in the header."""
    changed = bytearray(data)
    end = len(data) if rng.random() < 0.5 else 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        position, length = rng.randrange(end), rng.choice([1, 2, 4, 8, 100])
        kind = rng.randrange(8)
        if kind == 0:
            changed[position % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[position : position + length] = rng.randbytes(length)
        elif kind == 2:
            del changed[position : position + length]
        elif kind == 3:
            changed[position:position] = rng.randbytes(length)
        elif kind == 4:
            del changed[max(1, position) :]
        elif kind == 5:
            changed[:8] = struct.pack("<Q", rng.choice([0, 1, len(data), 2**31, 2**63, rng.randrange(len(data))]))
        elif kind == 6:
            changed[position:] = other[position:]
        else:
            start = rng.randrange(len(changed) or 1)
            changed[position:position] = changed[start : start + length]
        if not changed:
            return b""
    return bytes(changed)


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """Change entries of the safetensors header; where the library accepts them, make the checksum right."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    for _ in range(rng.choice([1, 1, 2, 4])):
        name = rng.choice([name for name in header if name != "__metadata__"])
        entry = header[name]
        if not isinstance(entry, dict) or len(entry.get("data_offsets") or []) != 2:
            continue  # spoilt already
        kind = rng.randrange(6)
        if kind == 0:
            entry["dtype"] = rng.choice(["F32", "F64", "I64", "U8", "BF16", "F8_E4M3", "BOOL", "F4", "OBJECT", 3, None])
        elif kind == 1:
            entry["shape"] = rng.choice(
                [[], [2**40, 2**40], [-1], [0], entry["shape"][::-1], [*entry["shape"], 1], "a"]
            )
        elif kind == 2:
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice([[end, begin], [begin, end + 8], [0, 2**62], [begin], None, [-8, end]])
        elif kind == 3:
            header[rng.choice(["../x", "", "x" * 200, "fitted.params_.decoder.components"])] = header.pop(name)
        elif kind == 4:
            header[name] = rng.choice(HOSTILE)
            break
        else:
            other = rng.choice([other for other in header if other != "__metadata__"])
            header[name], header[other] = header[other], header[name]
    if rng.random() < 0.1:
        header["__metadata__"] = rng.choice(HOSTILE)
    changed = assemble(header, body)
    try:
        text = header["__metadata__"]["skvardict"]
        header["__metadata__"]["sha256"] = files.digest(parse(changed), text)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return changed
    return assemble(header, body)


def assemble(header: dict, body: bytes) -> bytes:
    """Return the bytes of a file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def mutate_content(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON or the arrays, and make the checksum right."""
    arrays, text = parsed(data)
    arrays, content = dict(arrays), json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if rng.random() < 0.6:
            mutate_json(content, arrays, rng)
            continue
        if not arrays:
            break
        name = rng.choice(list(arrays))
        array = arrays.pop(name)
        kind = rng.randrange(6)
        if kind == 0:
            arrays[name] = array.T
        elif kind == 1:
            arrays[name] = array.reshape(-1)[: rng.randrange(array.size + 1)]
        elif kind == 2:
            arrays[name] = array.astype(rng.choice([np.float64, np.int64, np.uint8, np.bool_]))
        elif kind == 3 and array.dtype.kind == "f":
            arrays[name] = np.full_like(array, rng.choice([np.nan, np.inf, 1e30, 0]))
        elif kind == 4 and arrays:
            arrays[name] = arrays[rng.choice(list(arrays))]
        # else it stays away
    text = json.dumps(content)  # may be longer than what `save` writes
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return serialize(arrays, metadata={"skvardict": text, "sha256": files.digest(arrays, text)})


@cache
def parsed(data: bytes) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and the JSON of a file."""
    arrays, content = files.from_bytes(data)
    return arrays, json.dumps(content)


def mutate_json(content: object, arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """Change one value, key or entry somewhere in nested JSON, in place."""
    places: list[tuple] = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(content)
    if not places:
        return
    node, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0 and isinstance(node, dict):
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        names = ["transform", "__class__", "components_", "n_iter_", "a" * 100, "solver", "part", "FISTA"]
        node[rng.choice(names)] = node.pop(key)
    elif kind == 2:
        other, other_key = rng.choice(places)
        node[key] = copy.deepcopy(other[other_key]) if other_key in range(len(other)) or isinstance(other, dict) else 0
    elif kind == 3 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = rng.choice([node[key] + 1, -node[key], node[key] * 10**9, 0])
    elif kind == 4 and arrays:
        reference = {rng.choice(["array", "numbers"]): rng.choice(list(arrays))}
        node[key] = rng.choice([reference, [reference] * 100])
    else:
        node[key] = copy.deepcopy(rng.choice(HOSTILE))


NUMBERS = [0, 1, -1, 3, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30, 10**400, 0.5, -0.0, 1e-300, 1e308]


def mutate_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """Change the state of a checkpoint, and make the checksum right; mostly, what it belongs to stays."""
    arrays, text = parsed(data)
    arrays, content = dict(arrays), json.loads(text)
    state = content["state"]["dict"]
    identity = state.pop("identity") if rng.random() < 0.9 else None
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.randrange(4)
        if kind == 0:
            mutate_json(state, arrays, rng)
        elif kind == 1:
            mutate_array(arrays, rng)
        elif kind == 2:
            names = [name for name, value in state.items() if isinstance(value, int | float)]
            if names:
                state[rng.choice(names)] = rng.choice([*NUMBERS, None, "1", [1], {"float": "nan"}, {"float": "inf"}])
        else:
            mutate_history(state, arrays, rng)
    if identity is not None:
        state["identity"] = identity
    try:
        text = json.dumps(content)
    except (RecursionError, ValueError):
        return data[:-1]
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return serialize(arrays, metadata={"skvardict": text, "sha256": files.digest(arrays, text)})


def mutate_history(state: dict, arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """Change a column, or an entry of one."""
    history = state.get("history")
    columns = history.get("dict") if isinstance(history, dict) else None
    if not isinstance(columns, dict) or not columns:
        return
    name = rng.choice(list(columns))
    column = columns[name]
    kind = rng.randrange(5)
    if kind == 0:
        del columns[name]
    elif kind == 1:
        columns[rng.choice(["n_dead", "energy", "validation_energy", "n_rows", "epoch", "new"])] = columns.pop(name)
    elif kind == 2 or not isinstance(column, list) or not column:
        columns[name] = rng.choice([[], [1.0], "x", {"numbers": "x"}, [[1.0]], {"float": "nan"}, [10**400] * 3])
    elif kind == 3:
        column[rng.randrange(len(column))] = rng.choice([*NUMBERS, None, "1", {"float": "nan"}, {"float": "-inf"}])
    else:
        columns[name] = column[: rng.randrange(len(column) + 1)] * rng.choice([1, 2])


def mutate_array(arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """Change entries, shape or dtype of one array."""
    if not arrays:
        return
    name = rng.choice(list(arrays))
    array = np.array(arrays[name])
    kind = rng.randrange(7)
    if kind == 0 and array.size:
        with np.errstate(all="ignore"):
            value = np.float64(rng.choice([np.nan, np.inf, -np.inf, -1, 0, 1e30, 1e300, 2.0**62, 5e-324]))
            array.reshape(-1)[rng.randrange(array.size)] = value.astype(array.dtype)
    elif kind == 1:
        flat = bytearray(array.tobytes())
        for _ in range(rng.choice([1, 4, 30])):
            if flat:
                # The first numbers of a generator say where it stands.
                flat[rng.randrange(min(len(flat), rng.choice([24, len(flat)])))] = rng.randrange(256)
        array = np.frombuffer(bytes(flat), dtype=array.dtype).reshape(array.shape)
    elif kind == 2:
        array = array.astype(rng.choice([np.float64, np.float16, np.int64, np.uint8, np.bool_, np.uint16]))
    elif kind == 3:
        array = rng.choice([array.T, array.reshape(-1), array[None], array[:0] if array.ndim else array])
    elif kind == 4:
        array = np.zeros_like(array)
    elif kind == 5:
        arrays[rng.choice(["new", "state.session.optimizer.9.step", "state.best.x"])] = array
    elif kind == 6:
        del arrays[name]
        return
    arrays[name] = array


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Change a JSON file: its values, its nesting, its bytes."""
    content = json.loads(data)
    kind = rng.randrange(8)
    if kind == 0:
        return b"[" * rng.choice([10, 1000, 100_000])
    if kind == 1:
        depth = rng.choice([50, 400, 900])
        return b'{"result": ' + b"[" * depth + b"]" * depth + b"}"
    if kind == 2:
        return json.dumps(rng.choice(HOSTILE)).encode()
    if kind == 3:
        return data.replace(b"1", rng.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"\xff", b"\\ud800"]), 3)
    for _ in range(rng.choice([1, 1, 2, 4])):
        mutate_json(content, {}, rng)
    row = content.get("result") if isinstance(content, dict) else None
    if isinstance(row, dict):
        if rng.random() < 0.5 and row:
            row[rng.choice(list(row))] = rng.choice([*NUMBERS[:-1], None, True, "1", [1], {"a": 1}, float("nan")])
        content["sha256"] = files.digest({}, json.dumps(row, sort_keys=True))
    return json.dumps(content).encode()


def mutate_archive(data: bytes, rng: random.Random) -> bytes:
    """Change a .npz file: the header of its array, with a right checksum; compression; fields of the archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = archive.namelist()
        content = archive.read(name)
    kind = rng.randrange(4)
    if kind < 2:
        size = int.from_bytes(content[8:10], "little")
        header, body = content[10 : 10 + size], content[10 + size :]
        header = mutate_array_header(header, rng)
        prefix = content[:6] + bytes(rng.choice([(1, 0), (1, 0), (1, 0), (2, 0), (3, 0), (9, 9)]))
        content = prefix + len(header).to_bytes(2, "little") + header + body
    elif kind == 2:
        content = mutate_bytes(content, content, rng)
    file = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(rng.choice([name, name, name, "other.npy", "../IMAGES.npy", ""]) or "x", content)
    changed = bytearray(file.getvalue())
    if kind == 3 or rng.random() < 0.3:
        for _ in range(rng.choice([1, 2, 8])):
            # Sizes, methods and flags stand in the first bytes and in the last.
            at = rng.choice([rng.randrange(60), len(changed) - 1 - rng.randrange(120)]) % len(changed)
            changed[at] = rng.choice([0, 1, 9, 12, 99, 255, rng.randrange(256)])
    return bytes(changed)


def mutate_array_header(header: bytes, rng: random.Random) -> bytes:
    """Change the description of an array in a .npy file."""
    text = header.decode("latin1")
    change = rng.randrange(6)
    if change == 0:
        shape = rng.choice(
            ["(10**9, 10**9, 3)", "(1000000, 1000000, 3)", "(-1, 2, 3)", "(0, 0, 9)", "()", "(2.5,)", "3"]
        )
        text = text[: text.index("(")] + shape + text[text.index(")") + 1 :]
    elif change == 1:
        text = text.replace("<f4", rng.choice(["|O", "<f2", "<c8", ">f8", "|S4", "<M8[s]", "V4", "<U9", "x", "|V0"]))
    elif change == 2:
        depth = rng.choice([50, 500, 5000])
        text = rng.choice(["(" * depth, "[" * depth + "]" * depth, "-" * depth + "1", "{" * 50, "'" * 9, "\0" * 9])
    elif change == 3:
        text = text.replace("False", rng.choice(["True", "None", "0", "'F'", "__import__('os')", "[]"]))
    elif change == 4:
        text = text.replace("descr", rng.choice(["shape", "x", "descr', 'descr"]))
    else:
        text = mutate_bytes(text.encode("latin1"), header, rng).decode("latin1")
    return text.encode("latin1")[:60_000]


def mutate_pickle(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change bytes of a joblib file somewhere before its checksum."""
    end = len(data) - rng.choice([0, 32, 60])
    return mutate_bytes(data[:end], other, rng) + data[end:]
