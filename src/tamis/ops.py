"""The ops under their public name: `from tamis.ops import Categorify`."""

from tamis.features.ops import *  # noqa: F403
from tamis.features.ops import __all__ as __all__
