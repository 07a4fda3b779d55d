"""That this file is here puts tests/ on the import path: the folders below share its modules of cases."""
