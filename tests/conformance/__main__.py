"""Write the table's part of the model server's README: python -m tests.conformance"""

from tests.conformance.table import write

write()
