"""The order in which the gallery teaches: within each folder of examples, from the first one to read to the last."""

ORDER = (
    # start here
    "plot_quick_start",
    "plot_from_scikit_learn",
    "plot_alpha",
    "plot_grid",
    "plot_few_labels",
    # images
    "plot_receptive_fields",
    "plot_denoising",
    "plot_image_denoising",
    # sound and large files
    "plot_notes",
    "plot_streaming",
    # variational models
    "plot_generation",
    "plot_svae_unit_norm",
    "plot_thresholding_draws",
)


class TeachingOrder:
    """Sort key of file names: their place in `ORDER`; files that are not named there follow by name."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        name = filename.removesuffix(".py")
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    def __repr__(self):
        return "TeachingOrder"
