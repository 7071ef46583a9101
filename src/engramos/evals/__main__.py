"""`python -m engramos.evals NAME --data DIR`: the same as `engramos eval`."""

from engramos.evals.command import app

if __name__ == "__main__":
    app(prog_name="engramos.evals")
