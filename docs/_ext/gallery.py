"""The order of the gallery: as one would teach it."""

ORDER = [
    "plot_quick_start.py",
    "plot_from_scikit_learn.py",
    "plot_alpha.py",
    "plot_few_labels.py",
    "plot_grid.py",
    "plot_receptive_fields.py",
    "plot_denoising.py",
    "plot_image_denoising.py",
    "plot_notes.py",
    "plot_streaming.py",
    "plot_thresholding_draws.py",
    "plot_svae_unit_norm.py",
    "plot_generation.py",
    "plot_own_penalty.py",
    "plot_own_prior.py",
    "plot_own_encoder.py",
]


class TeachingOrder:
    """Sort key of the scripts in a folder; those without a place come last, by name."""

    def __init__(self, folder):
        pass

    def __call__(self, name):
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    def __repr__(self):
        return "TeachingOrder"
