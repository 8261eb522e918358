"""What only a GPU can show, as one command: `make test-gpu`."""
