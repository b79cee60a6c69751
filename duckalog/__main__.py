"""`python -m duckalog`."""

from duckalog.cli import main

main()
