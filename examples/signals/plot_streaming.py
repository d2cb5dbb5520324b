"""
A file larger than memory
=========================

Rows are on disk, and there are more of them than memory holds. Can a dictionary be learnt from the file as it is read,
and does it become as good as one that is learnt from all rows at once?
"""

# %%
# Peak memory is what the operating system counted for this process (on Linux and macOS). The file is small enough for
# an example; nothing below depends on its length.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are fastest on one thread

import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
from skimage import data
from skimage.transform import downscale_local_mean
from sklearn.decomposition import PCA

from skvardict import StandardDictionaryLearning, sparse_encode
from skvardict.display import DictionaryDisplay
from skvardict.preprocessing import FourierWhitener, PatchSampler


def peak_memory():
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# %%
# Whitened patches of photographs, 320,000 of them, are written piece by piece. The cameraman is kept to measure on.
colour = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
photographs = [image.mean(axis=2) / 255 for image in colour]
halves = [downscale_local_mean(image, (2, 2)) for image in (*photographs, data.camera() / 255)]
whitened = [image[8:-8, 8:-8] for image in FourierWhitener(variance=1.0).fit_transform(halves)]
X_test = PatchSampler((12, 12), n_patches=2000, random_state=0).fit_transform(whitened[-1:])

folder = TemporaryDirectory()
path = Path(folder.name) / "rows.dat"
n_rows, n_features, n_chunk = 320_000, 144, 10_000
with path.open("wb") as file:
    for seed in range(n_rows // n_chunk):
        sampler = PatchSampler((12, 12), n_patches=n_chunk, random_state=seed)
        sampler.fit_transform(whitened[:-1]).astype(np.float32).tofile(file)
size = path.stat().st_size / 2**20

# %%
# A function that returns the chunks of one pass: each a piece of a memory map that is opened for it alone.


def chunks():
    for first in range(0, n_rows, n_chunk):
        rows = np.memmap(path, np.float32, "r", offset=4 * first * n_features, shape=(n_chunk, n_features))
        yield np.array(rows)


# %%
# One pass over the file. `buffer_rows` are held at a time, and batches are drawn from them at random.
model = StandardDictionaryLearning(144, alpha=0.01, encoder=None, positive_code=False, max_iter=1, random_state=0)
small = next(chunks())
start = peak_memory()
begin = process_time()
streamed = model.fit_stream(chunks, buffer_rows=10_000)
seconds, grown = process_time() - begin, peak_memory() - start
print(f"file {size:.0f} MB")
print(f"fit_stream:    {seconds:4.1f} s, {grown:3.0f} MB above the memory before it")

# %%
# Beside it: the same pass with the whole file in memory, a dictionary of the first 1,000 rows in as many passes as fit
# chooses, and one that has learnt nothing.
atoms = {"fit_stream, all rows": streamed.components_.copy()}
begin = process_time()
in_memory = np.fromfile(path, np.float32).reshape(n_rows, n_features)
atoms["fit, all rows in memory"] = model.fit(in_memory).components_.copy()
print(f"fit in memory: {process_time() - begin:4.1f} s, {peak_memory() - start:3.0f} MB")
del in_memory
atoms["fit, the first 1,000 rows"] = model.set_params(max_iter="auto").fit(small[:1000]).components_
atoms["PCA of the first 10,000"] = PCA(144).fit(small).components_


def objective(components):
    codes = sparse_encode(X_test, components, alpha=0.01, positive=False)
    return np.mean((X_test - codes @ components) ** 2) + 0.01 * np.abs(codes).sum(axis=1).mean()


for name, components in atoms.items():
    print(f"{name:26s} objective on another photograph {objective(components):.4f}")

# %%
# What two of them have learnt.
figure, axes = plt.subplots(1, 2, figsize=(9, 4.7), layout="constrained")
for ax, name in zip(axes, ("fit_stream, all rows", "fit, the first 1,000 rows")):
    DictionaryDisplay.from_components(atoms[name]).plot(ax, title=name, cmap="gray")
folder.cleanup()

# %%
# The dictionary from the stream is as good as the one that had all rows at once, to four digits, and takes a quarter of
# the memory above what was there before: the buffer, a chunk and the running sums, whatever the length of the file.
# What fits into memory anyway is not enough: a thousand rows give atoms that remember single patches, and an
# objective that is a quarter higher. A long pass can be stopped and continued: ``fit_stream(chunks,
# checkpoint="run.ckpt")``.
