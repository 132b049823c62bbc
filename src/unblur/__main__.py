"""`python -m unblur` is `unblur`."""

from unblur.cli import main

if __name__ == "__main__":
    main()
