"""What needs Ciw is left out where it is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ciw") else ["in_ciw.py"]
