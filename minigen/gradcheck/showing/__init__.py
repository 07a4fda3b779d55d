"""The verdict on each op and Module of a file, as a table, as pictures and as a page: what the command shows."""
