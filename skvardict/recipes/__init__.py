"""The papers' tables as estimators: settings exactly as printed, by name.

Estimators outside this package have defaults that learn soonest; a recipe has what a paper used, schedules and budget
included. Every recipe is the one place where its numbers stand.
"""

from skvardict.recipes._svae import svae
from skvardict.recipes._table3 import TABLE3, Row, table3
from skvardict.recipes._vsc import VSC_METHODS, vsc, vsc_conv

__all__ = ["TABLE3", "VSC_METHODS", "Row", "svae", "table3", "vsc", "vsc_conv"]
