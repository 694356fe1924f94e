"""`python -m modelloop`: the same as the command `modelloop`."""

from modelloop.cli import main

if __name__ == "__main__":
    main()
