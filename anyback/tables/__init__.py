"""Files of data, as the command line takes them: .csv, .tsv, .npz, .npy, IDX folders, and what ships."""

from anyback.lookup import set_module
from anyback.tables._base import DataError, Table
from anyback.tables.files import SHIPPED as SHIPPED
from anyback.tables.files import load, load_inputs

__all__ = ["DataError", "Table", "load", "load_inputs"]

set_module(__name__, __all__)
