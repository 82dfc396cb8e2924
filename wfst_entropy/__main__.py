"""`python -m wfst_entropy` is the command `wfst-entropy`."""

from wfst_entropy.cli.main import app

app(prog_name="wfst-entropy")
