"""What dictionaries of patches do for a whole image: take out noise, fill in missing pixels."""

from skvardict.images._denoise import denoise_image
from skvardict.images._inpaint import inpaint_image

__all__ = ["denoise_image", "inpaint_image"]
