"""`python -m ferricorn` is the command `ferricorn`."""

from ferricorn.cli import main

main(prog_name="ferricorn")
