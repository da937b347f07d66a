"""An ICC profile -> sRGB, which is what everything behind this package takes colours for.

PS3.3 section C.11.15. A scanner's or camera's profile says what its numbers mean; a grid of pale
pink may lie near white in them. A profile that cannot be used leaves the colours as they are: an
ECG in slightly other colours is still an ECG.
"""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

from dicom_node.pixels import Raster

_MAX_PROFILE_BYTES: Final = 4 << 20
#: Offset of the signature every profile has (ICC.1 section 7.2.9).
_SIGNATURE_AT: Final = 36


def to_srgb(raster: Raster, header: Dataset) -> Raster:
    """Convert an RGB raster by the profile of its object, where there is one of RGB."""
    profile = header.get("ICCProfile")
    if raster.ndim != 3 or not isinstance(profile, bytes) or len(profile) > _MAX_PROFILE_BYTES:
        return raster
    if profile[_SIGNATURE_AT : _SIGNATURE_AT + 4] != b"acsp":
        return raster
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return raster
        conversion = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        converted = ImageCms.applyTransform(Image.fromarray(raster), conversion)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return raster
    assert converted is not None  # noqa: S101 (it is None only when converted in place)
    return np.asarray(converted)
