"""``python -m chatsim``."""

from chatsim.cli import entry

if __name__ == "__main__":
    entry()
