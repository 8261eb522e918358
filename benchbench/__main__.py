"""`python -m benchbench` is the same as `benchbench`."""

from benchbench.cli.main import main

if __name__ == "__main__":
    main()
