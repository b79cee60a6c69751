"""What duckalog costs, against plain DuckDB and the closest peer; `README.md` tells how to run."""
