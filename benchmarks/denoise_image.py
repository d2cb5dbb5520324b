"""Denoising and inpainting of photographs beside what users have at hand.

    python -m benchmarks.denoise_image --threads 1

Photographs that come with scikit-image and scikit-learn, cut to 256 x 256 pixels. The peers of scikit-image get the
best of several settings by the clean image, which nobody has; ours gets its defaults. "own dictionary" is learnt from
the noisy image, "cosines" are atoms of a discrete cosine transform, "principal components" those of the noisy patches;
all three are pursued in the same way.
"""

import argparse
import sys
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_edt
from skimage import data
from skimage.filters import gaussian
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, inpaint_biharmonic
from sklearn.datasets import load_sample_image
from sklearn.decomposition import PCA

from benchmarks._results import Output
from skvardict.images import denoise_image, inpaint_image
from skvardict.preprocessing import OverlappingPatches


def photographs(colour):
    """Return grey crops, and one in colour if asked for, with values from 0 to 255, by name."""
    flower = load_sample_image("flower.jpg")[100:356, 200:456].astype(np.float32)
    return {
        "camera": data.camera()[100:356, 100:356].astype(np.float32),
        "flower grey": (flower @ np.array([0.299, 0.587, 0.114], np.float32)),
        **({"astronaut colour": data.astronaut()[:256, 100:356].astype(np.float32)} if colour else {}),
    }


def cosines(n_channels, side=8, waves=16):
    """Return an estimator with the atoms of an overcomplete cosine transform, channel by channel."""
    lines = np.cos(np.outer(np.arange(side), np.arange(waves)) * np.pi / waves)
    lines[:, 1:] -= lines[:, 1:].mean(axis=0)
    lines /= np.linalg.norm(lines, axis=0)
    atoms = np.kron(np.kron(lines, lines), np.eye(n_channels)).T
    holder = PCA(1).fit(np.eye(atoms.shape[1]))
    holder.components_ = atoms[n_channels:]  # without the constants
    return holder


def denoisers(noisy, sigma):
    """Return lists of functions by name, of which the best counts."""
    channel_axis = -1 if noisy.ndim == 3 else None
    n_channels = 3 if noisy.ndim == 3 else 1
    unit, noise = noisy / 255, sigma / 255

    def components():
        return PCA(64 * n_channels - n_channels).fit(OverlappingPatches(8).fit_transform(noisy))

    return {
        "Gaussian blur, best width": [
            lambda w=w: 255 * gaussian(unit, w, channel_axis=channel_axis) for w in (0.6, 0.8, 1.0, 1.3, 1.7)
        ],
        "total variation, best weight": [
            lambda w=w: 255 * denoise_tv_chambolle(unit, w, channel_axis=channel_axis)
            for w in (0.05, 0.08, 0.11, 0.15, 0.2, 0.3)
        ],
        "non-local means, best h": [
            lambda h=h: 255 * denoise_nl_means(unit, 5, 6, h=h * noise, sigma=noise, channel_axis=channel_axis)
            for h in (0.6, 0.8, 1.0)
        ],
        "principal components, pursued": [lambda: denoise_image(noisy, components(), sigma=sigma, random_state=0)],
        "cosines, pursued": [lambda: denoise_image(noisy, cosines(n_channels), sigma=sigma, random_state=0)],
        "own dictionary (denoise_image)": [lambda: denoise_image(noisy, sigma=sigma, random_state=0)],
    }


def inpainters(image, missing):
    """Return functions by name."""
    channel_axis = -1 if image.ndim == 3 else None
    nearest = tuple(distance_transform_edt(missing, return_distances=False, return_indices=True))
    mean = image[~missing].mean(axis=0)
    hidden = missing if image.ndim == 2 else missing[..., None]
    return {
        "mean": [lambda: np.where(hidden, mean, image)],
        "nearest pixel": [lambda: image[nearest]],
        "biharmonic": [lambda: 255 * inpaint_biharmonic(image / 255, missing, channel_axis=channel_axis)],
        "own dictionary (inpaint_image)": [lambda: inpaint_image(image, missing, random_state=0)],
    }


def compare(clean, methods, **facts):
    """Return a row per method: peak signal-to-noise ratio of the best of its settings, processor seconds of one."""
    rows = []
    for method, settings in methods.items():
        begin = process_time()
        errors = [float(np.mean((np.clip(run(), 0, 255) - clean) ** 2)) for run in settings]
        seconds = (process_time() - begin) / len(settings)
        rows.append({**facts, "method": method, "psnr": 10 * np.log10(255**2 / min(errors)), "cpu_seconds": seconds})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sigmas", type=float, nargs="*", default=[15, 25, 50])
    parser.add_argument("--missing", type=float, nargs="*", default=[0.5, 0.8])
    parser.add_argument("--colour", action="store_true", help="a colour photograph, too: some minutes more")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    arguments, rest = parser.parse_args(), sys.argv[1:]
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    output, rows, filled = Output(arguments.results, "denoise_image", "benchmarks.denoise_image", rest), [], []
    for name, image in photographs(arguments.colour).items():
        rng = np.random.default_rng(0)
        for sigma in arguments.sigmas:
            noisy = (image + sigma * rng.standard_normal(image.shape)).astype(np.float32)
            rows += compare(image, denoisers(noisy, sigma), image=name, sigma=sigma)
        for share in arguments.missing:
            missing = rng.uniform(size=image.shape[:2]) < share
            filled += compare(image, inpainters(image, missing), image=name, missing=share)
        output.table(pd.DataFrame(rows))
        output.table(pd.DataFrame(filled), "_inpainting")


if __name__ == "__main__":
    main()
