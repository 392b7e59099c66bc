"""Read data files for the command line: .csv, .tsv, .npz, .npy, IDX folders, and the included data sets."""

from anyback.lookup import set_module
from anyback.tables._base import DataError, Table
from anyback.tables.files import SHIPPED as SHIPPED
from anyback.tables.files import load, load_inputs

__all__ = ["DataError", "Table", "load", "load_inputs"]

set_module(__name__, __all__)
